"""What ``benchmarks.gpu`` compares, on which models, and what the GPUs could do at most."""

from dataclasses import dataclass

from benchmarks.workload import Pairs, choose_batch, optimizer_of_trl
from experiments import llama32_1b
from rmjax.config import ExperimentConfig, ParallelConfig, Strategy
from rmjax.model_config import ComputeDtype, ModelConfig

SIDES = ("rmjax", "trl")
VOCABULARIES = {"llama32_1b": 128_256, "tiny": 512}
# No platform but the GPU's: without one a side ends instead of computing on the processor. Memory is taken as it is
# needed, so that its peak can be read.
GPU = {
    "JAX_PLATFORMS": "cuda",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95",
}
_TINY = ModelConfig(width=32, layers=2, attention_heads=2, key_value_heads=1, head_size=16, mlp_width=64)

# Operations a second, dense bfloat16, as NVIDIA's data sheets have them, by what a device's name contains.
_PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A side, and how it runs. Of TRL: ``checkpointing`` None is its default."""

    side: str
    attention: str
    checkpointing: bool | None = None
    grouped: bool = False


# In the order in which they run: those that matter most come first.
CASES = {
    "rmjax": Case(side="rmjax", attention="auto"),
    "trl": Case(side="trl", attention="sdpa"),
    "trl_no_checkpointing": Case(side="trl", attention="sdpa", checkpointing=False),
    "trl_grouped": Case(side="trl", attention="sdpa", checkpointing=False, grouped=True),
    "rmjax_fused": Case(side="rmjax", attention="fused"),
    "rmjax_abreast": Case(side="rmjax", attention="abreast"),
    "rmjax_dense": Case(side="rmjax", attention="dense"),
    "trl_flash": Case(side="trl", attention="flash_attention_2", checkpointing=False),
}


def peak_flops(device: str, tflops: float | None) -> float:
    """Of the flag, else as published; SystemExit for a device that isn't known."""
    if tflops is not None:
        return tflops * 1e12
    for name, peak in _PEAKS.items():
        if name in device:
            return peak
    raise SystemExit(f"{device} is not a GPU whose peak is known ({', '.join(_PEAKS)}); give --peak_tflops")


def make_config(model: str, pairs: Pairs, pairs_per_step: int) -> ExperimentConfig:
    """rmjax's experiment on one device, with TRL's optimizer."""
    config = llama32_1b.get_config()
    if model == "tiny":
        config.model = _TINY
    config.model.compute_dtype = ComputeDtype.BFLOAT16
    config.parallel = ParallelConfig(strategy=Strategy.JIT)
    config.batch = choose_batch(pairs, None, None, pairs_per_step=pairs_per_step)
    config.optimizer = optimizer_of_trl()
    return config
