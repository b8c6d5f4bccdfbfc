"""Training pairs a second on one NVIDIA GPU in bfloat16: rmjax and TRL's RewardTrainer on a Llama of 1B parameters.

    python -m benchmarks.gpu [--sides=rmjax,trl] [--minutes=9] [--peer_python=PYTHON]

Needs no data: pairs have HH's lengths and random tokens (``benchmarks.hh_lengths``). Both sides keep float32 weights
and optimizer state and multiply in bfloat16. Each case is a process that has the GPU to itself; they run one after the
other, for ``--minutes`` altogether, of which each case has its share. Cases of rmjax: ``rmjax`` (what a run gets),
``rmjax_fused`` (``jax.nn.dot_product_attention`` with a bias: cuDNN's kernel), ``rmjax_abreast`` (blocks in plain JAX),
``rmjax_dense``. Of TRL: ``trl`` (as it comes: gradient checkpointing, sdpa), ``trl_no_checkpointing``, ``trl_grouped``
(that with length grouping) and ``trl_flash`` (that without, with flash attention, if ``flash_attn`` can be imported).

One JSON line for the setting, one for each case and one for the ratios. A case without a figure has an ``error``, and
the exit code is 1; only of ``trl_flash`` is a missing ``flash_attn`` no failure. On a CPU (``--platform=cpu
--model=tiny --peak_tflops=0.1``) the same code runs in little.
"""

import dataclasses
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import jax
from absl import app, flags, logging

from benchmarks.arithmetic import distinct_tokens, training_on, visible_pairs
from benchmarks.gpu_cases import CASES, GPU, SIDES, VOCABULARIES, Case, make_config, peak_flops
from benchmarks.hh_lengths import draw_pairs
from benchmarks.installed import here, in_python
from benchmarks.llama_weights import llama_config
from benchmarks.representative import padded_tokens
from benchmarks.sides import CPU, Answer, Side, SideError, pace, say
from benchmarks.trl_options import TrlOptions
from benchmarks.workload import LONGEST, Pairs, write_shared
from rmjax.batches.lengths import measure
from rmjax.batches.tokenizer import save_tokenizer, train_tokenizer
from rmjax.config import ExperimentConfig
from rmjax.model_config import Remat

_SIDES = flags.DEFINE_list("sides", list(SIDES), "rmjax, trl or both.")
_CASES = flags.DEFINE_list("cases", None, "Which cases; by default all of the sides.")
_PEER_PYTHON = flags.DEFINE_string("peer_python", None, "The Python that has TRL; by default this one.")
_PLATFORM = flags.DEFINE_enum("platform", "cuda", ["cuda", "cpu"], "Where both sides run.")
_MODEL = flags.DEFINE_enum("model", "llama32_1b", list(VOCABULARIES), "The shape.")
_PAIRS = flags.DEFINE_integer("pairs", 16, "In a batch; of rmjax on average.")
_FEWER = flags.DEFINE_integer("pairs_no_checkpointing", 8, "In a batch of TRL's without checkpointing: its default.")
_WINDOWS = flags.DEFINE_integer("windows", 5, "Of each case, or as many as its share of the time allows.")
_STEPS = flags.DEFINE_integer("steps", 8, "TRL's steps in a window, of --pairs; twice as many of fewer pairs.")
_RMJAX_STEPS = flags.DEFINE_integer("rmjax_steps", 16, "rmjax's steps in a window.")
_DATA = flags.DEFINE_integer("data_pairs", 4096, "Pairs to train on.")
_MINUTES = flags.DEFINE_float("minutes", 9.0, "For everything; a case that would take longer is ended.")
_PEAK = flags.DEFINE_float("peak_tflops", None, "Of the device, dense bfloat16; needed if it isn't a known GPU.")
_REMAT = flags.DEFINE_enum_class("remat", Remat.NONE, Remat, "What rmjax's backward pass computes again.")
_UNROLL = flags.DEFINE_integer("unroll", None, "rmjax's layers in each turn of the scan over them; by default all.")
_SEED = flags.DEFINE_integer("seed", 0, "Of pairs and weights.")
_PACKAGES = ("torch", "transformers", "trl", "datasets", "accelerate")
_AT_LEAST = 3  # windows of a case that was slow to start, if the limit allows
_MATMUL_SIZES = {"cuda": 8192, "cpu": 512}


def peer_python() -> Path:
    """The interpreter of TRL's side."""
    return Path(_PEER_PYTHON.value or sys.executable)


def chosen_cases() -> dict[str, Case]:
    """As the flags say; SystemExit for a name that isn't there."""
    for flag, names, known in (("sides", _SIDES.value, SIDES), ("cases", _CASES.value or [], CASES)):
        if wrong := set(names) - set(known):
            raise SystemExit(f"--{flag}: {', '.join(sorted(wrong))}; it must be of {', '.join(known)}")
    cases = {name: case for name, case in CASES.items() if case.side in _SIDES.value}
    return {name: case for name, case in cases.items() if _CASES.value is None or name in _CASES.value}


def versions(cases: dict[str, Case]) -> dict[str, str | None]:
    """Of what the sides run on; SystemExit if TRL's side lacks a package."""
    found = here("jax", "flax", "optax", "numpy")
    if any(case.side == "trl" for case in cases.values()):
        theirs = in_python(peer_python(), *_PACKAGES, "flash_attn")
        if missing := [name for name in _PACKAGES if theirs[name] is None]:
            raise SystemExit(
                f"--sides=trl: {peer_python()} can't import {', '.join(missing)}; install what "
                "benchmarks/requirements-peers.txt names, give --peer_python, or ask for --sides=rmjax alone"
            )
        found |= theirs
    return found


def peer_options(case: Case) -> TrlOptions:
    """Of a case of TRL's. Where batches have fewer pairs, a window has more of them."""
    steps = _STEPS.value * (1 if case.checkpointing is None else 2)
    return TrlOptions(
        pairs_per_step=_PAIRS.value if case.checkpointing is None else _FEWER.value,
        total_steps=1 + _WINDOWS.value * steps,
        windows=_WINDOWS.value,
        steps=steps,
        gradient_checkpointing=case.checkpointing,
        grouped=case.grouped,
        seed=_SEED.value,
        threads=None,
        platform=_PLATFORM.value,
        bf16=True,
        attention=case.attention,
        new_weights=True,
    )


def attention_of(case: Case) -> str:
    """The name of what is run: fused attention is another kernel on each platform."""
    return {"cuda": "cudnn", "cpu": "xla"}[_PLATFORM.value] if case.attention == "fused" else case.attention


def start(case: Case, folder: Path) -> tuple[Side, int, int]:
    """The side, its warm-up's steps and those of a window."""
    environment = GPU if _PLATFORM.value == "cuda" else CPU
    if case.side == "rmjax":
        side = Side("benchmarks.side_gpu", str(folder), attention_of(case), environment=environment)
        return side, 3, _RMJAX_STEPS.value
    options = peer_options(case)
    arguments = (str(folder), options.to_json())
    side = Side("benchmarks.peer_trl", *arguments, python=peer_python(), environment=environment)
    return side, 1, options.steps or 0


def run_case(name: str, case: Case, folder: Path, share: float, limit: float) -> Answer:
    """The line of a case without its MFU. No window begins after ``share`` seconds and the time of a few windows, nor
    where it might not be over in ``limit`` seconds, after which the case is ended."""
    began = time.monotonic()
    side, warm_up, steps = start(case, folder)
    timer = threading.Timer(limit, side.kill)
    timer.start()
    try:
        with side:
            first = side.ask(steps=warm_up)
            say(f"{name}: ready after {time.monotonic() - began:.0f} s")
            found = [side.ask(steps=steps)]
            window = found[0]["seconds"]
            latest = began + min(share + _AT_LEAST * window, limit - 2 * window)
            while len(found) < _WINDOWS.value and time.monotonic() < latest:
                found.append(side.ask(steps=steps))
            if case.side == "rmjax":
                first["matmul"] = side.ask(matmul=_MATMUL_SIZES[_PLATFORM.value])["flops"]
    except SideError as error:
        ended = time.monotonic() - began >= limit
        return {"case": name, "error": f"ended after {limit:.0f} s, its share of --minutes" if ended else str(error)}
    finally:
        timer.cancel()
    line: Answer = {"case": name, "attention": attention_of(case), "device": first.get("device", "cpu")}
    line["pairs_per_second"] = pace(found)
    line["peak_gib"] = max(window["peak_gib"] for window in found)
    pairs = float(sum(window["pairs"] for window in found))
    line["pairs_per_step"] = pairs / (steps * len(found))
    if case.side == "rmjax":
        line["matmul_tflops"] = first["matmul"] / 1e12
    else:
        line["tokens_per_pair"] = sum(window["padded_tokens"] for window in found) / pairs
        line["gradient_checkpointing"] = found[0]["gradient_checkpointing"]
    return line | {"windows": len(found), "steps": steps, "seconds": time.monotonic() - began}


def run_cases(cases: dict[str, Case], folder: Path, packages: dict[str, str | None], flops: float) -> list[Answer]:
    """Their lines, printed as they come; ``flops`` are those that a pair needs."""
    end, lines = time.monotonic() + 60 * _MINUTES.value, []
    for number, (name, case) in enumerate(cases.items()):
        left = end - time.monotonic()
        share = left / (len(cases) - number)
        if case.attention == "flash_attention_2" and packages["flash_attn"] is None:
            line: Answer = {"case": name, "error": f"{peer_python()} can't import flash_attn"}
        elif left < 1:
            line = {"case": name, "error": f"not run: --minutes={_MINUTES.value} were over"}
        else:
            line = run_case(name, case, folder, share, min(2 * share, left))
        if "error" not in line:
            peak = peak_flops(line["device"], _PEAK.value)
            line |= {"mfu": flops * line["pairs_per_second"] / peak, "peak_tflops": peak / 1e12}
        lines.append(line)
        print(json.dumps(line), flush=True)
    return lines


def write_folder(folder: Path, config: ExperimentConfig, pairs: Pairs, vocabulary: int) -> None:
    """What the sides read. TRL asks for a tokenizer, of which it takes the pad token."""
    write_shared(folder, config, pairs, llama_config(config.model, vocabulary, longest=2 * LONGEST))
    save_tokenizer(train_tokenizer(["a"], 300), folder / "tokenizer.json")


def setting(config: ExperimentConfig, pairs: Pairs, packages: dict[str, str | None], flops: float) -> Answer:
    """The first line."""
    lengths = measure(pairs.tokenized())
    return {
        "case": "setting",
        "model": _MODEL.value,
        "platform": _PLATFORM.value,
        "shape": {name: getattr(config.model, name) for name in ("width", "layers", "attention_heads", "mlp_width")},
        "vocabulary": VOCABULARIES[_MODEL.value],
        "remat": config.model.remat.value,
        "unroll": config.model.unroll,
        "row_length": config.batch.row_length,
        "rows": config.batch.rows,
        "distinct_tokens_per_pair": distinct_tokens(lengths) / len(pairs),
        "visible_pairs_per_pair": visible_pairs(lengths) / len(pairs),
        "padded_tokens_per_pair": float(padded_tokens(pairs.lengths, _PAIRS.value).sum()) / len(pairs),
        "gflops_per_pair": flops / 1e9,
        "versions": packages,
    }


def ratios(lines: list[Answer]) -> Answer:
    """Of each case of rmjax to each of TRL's that has a figure."""
    pace = {line["case"]: line["pairs_per_second"] for line in lines if "error" not in line}
    own = [name for name in pace if CASES[name].side == "rmjax"]
    theirs = [name for name in pace if CASES[name].side == "trl"]
    return {"case": "ratios"} | {name: {other: pace[name] / pace[other] for other in theirs} for name in own}


def main(_: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)
    jax.config.update("jax_platforms", "cpu")  # this process leaves the GPU to the sides
    cases = chosen_cases()
    packages = versions(cases)
    pairs = draw_pairs(_DATA.value, VOCABULARIES[_MODEL.value], seed=_SEED.value)
    config = make_config(_MODEL.value, pairs, _PAIRS.value)
    unroll = _UNROLL.value or config.model.layers
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, remat=_REMAT.value, unroll=unroll))
    flops = training_on(config.model, measure(pairs.tokenized())) / len(pairs)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        write_folder(folder, config, pairs, VOCABULARIES[_MODEL.value])
        print(json.dumps(setting(config, pairs, packages, flops)), flush=True)
        lines = run_cases(cases, folder, packages, flops)
    print(json.dumps(ratios(lines)), flush=True)
    optional = {"trl_flash"} if packages.get("flash_attn") is None else set()
    if failed := [line["case"] for line in lines if "error" in line and line["case"] not in optional]:
        raise SystemExit(f"no figure for {', '.join(failed)}; their lines say why")


if __name__ == "__main__":
    app.run(main)
