"""Adapters in PEFT's format: ``adapter_config.json`` and ``adapter_model.safetensors``, read and written.

An adapter of PEFT lies beside a module of the base, under that module's name; ``lora_A`` is our ``a`` transposed, and
``lora_B`` our ``b``. The reward head is saved whole, as one of ``modules_to_save``.
"""

import json
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import Shaped
from safetensors import safe_open

from rmjax.arrays import Array
from rmjax.model_config import ModelConfig
from rmjax.models.huggingface_config import HuggingFaceError
from rmjax.models.huggingface_export import write_tensors
from rmjax.models.huggingface_names import FAMILIES, HEAD, Family
from rmjax.models.lora import A, Adapters, B, Names, adapter_name, is_adapter, leaves_of
from rmjax.models.reward import HEAD_KERNEL, Params, head_kernel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
_PARTS = {A: "lora_A", B: "lora_B"}
_HEAD_MODULE = HEAD.removesuffix(".weight")
# Fields of a LoraConfig that change nothing of what a trained adapter computes, or that are looked at one by one.
_NEUTRAL = (
    "auto_mapping", "base_model_name_or_path", "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode",
    "init_lora_weights", "layers_pattern", "lora_alpha", "lora_dropout", "megatron_core", "modules_to_save",
    "peft_type", "peft_version", "qalora_group_size", "r", "revision", "runtime_config", "target_modules", "task_type",
)  # fmt: skip
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")  # the others change the base too


def target_modules(family: Family, targets: tuple[str, ...]) -> dict[str, str]:
    """Of each of our projections the name of their module, ``{}`` standing for the number of the layer.

    Raises:
      HuggingFaceError: for projections that lie in one module with others, which has an adapter of its own or none.
    """
    found = {names[-2]: stored for names, stored in family.layer.items() if names[-1] == "kernel"}
    fused = [name for name in targets if name in found and found[name].fused is not None]
    if fused:
        raise HuggingFaceError(
            f"{', '.join(fused)} are one module in this architecture, so PEFT's format has no adapter for each of "
            "them; right would be other targets, or the merged model"
        )
    return {name: found[name].name.removesuffix(".weight") for name in targets}


def write_adapter(
    folder: Path, kind: str, config: ModelConfig, params: Params, adapters: Adapters, *, head: int, base: str
) -> None:
    """Writes the adapters and a reward head, for ``peft.PeftModel.from_pretrained`` on a sequence classifier.

    Args:
      folder: that exists.
      kind: the ``model_type`` of the base.
      head: which reward head becomes ``score``.
      base: the name or folder of the base, as PEFT will look it up.
    """
    family = FAMILIES[kind]
    modules = target_modules(family, adapters.targets)
    tensors = {}
    for names, leaf in leaves_of(params).items():
        if is_adapter(names):
            module = modules[next(name for name in modules if adapter_name(name) == names[-2])]
            for layer in range(config.layers):
                key = f"{PREFIX}{family.prefix}{module.format(layer)}.{_PARTS[names[-1]]}.weight"
                tensors[key] = np.ascontiguousarray(np.asarray(leaf[layer], np.float32).T)
    tensors[PREFIX + HEAD] = np.ascontiguousarray(head_kernel(params, head, config.ensemble)[None])
    write_tensors(folder / WEIGHTS, tensors)
    of_a_linear = {names[-2]: stored.transposed for names, stored in family.layer.items() if names[-1] == "kernel"}
    about = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": base,
        "r": adapters.rank,
        "lora_alpha": int(adapters.alpha) if adapters.alpha.is_integer() else adapters.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": not any(of_a_linear[name] for name in adapters.targets),
        "target_modules": sorted(module.split("{}.")[1] for module in modules.values()),
        "modules_to_save": [_HEAD_MODULE],
        "inference_mode": True,
    }
    (folder / CONFIG).write_text(json.dumps(about, indent=2) + "\n")


class PeftAdapter:
    """A folder with an adapter in PEFT's format, for a base that ``rmjax.models.huggingface`` reads.

    Attributes:
      adapters: its rank, alpha and targets.
      base: the name or folder of the base that it was trained on, as its file says.

    Raises:
      HuggingFaceError: for a folder without its files, an adapter that isn't LoRA, options that change what is computed
        (all of them are listed), or modules that no projection of ours is.
    """

    def __init__(self, folder: Path | str, kind: str):
        self.folder = Path(folder)
        self._family = FAMILIES[kind]
        about = _described(self.folder / CONFIG)
        self.base: str | None = about.get("base_model_name_or_path")
        self._tensors = _tensors_of(self.folder / WEIGHTS)
        self.adapters = Adapters(rank=about["r"], alpha=float(about["lora_alpha"]), targets=self._targets())

    @property
    def has_reward_head(self) -> bool:
        return PREFIX + HEAD in self._tensors

    def onto(self, params: Params, template: Params) -> Params:
        """The parameters of a base with these adapters and, where the folder has one, this reward head.

        Args:
          params: of the base; adapters that it has are replaced.
          template: abstract arrays of the model with these adapters, as ``Parallel.abstract_params`` gives them.

        Raises:
          HuggingFaceError: for tensors that are missing, or that have another shape.
        """
        base = leaves_of(params)
        return unflatten_dict({names: self._leaf(names, leaf, base) for names, leaf in leaves_of(template).items()})

    def _leaf(self, names: Names, leaf: Any, base: dict[Names, Any]) -> Array:
        if is_adapter(names):
            keys = [self._key(names, layer) for layer in range(leaf.shape[0])]
            value = np.stack([self._tensor(key, leaf.shape[1:]) for key in keys])
        elif names == HEAD_KERNEL and self.has_reward_head:
            value = self._tensor(PREFIX + HEAD, leaf.shape)
        else:
            return base[names]
        return jax.device_put(value.astype(leaf.dtype), leaf.sharding)

    def _key(self, names: Names, layer: int) -> str:
        projection = next(name for name in self.adapters.targets if adapter_name(name) == names[-2])
        module = target_modules(self._family, (projection,))[projection]
        return f"{PREFIX}{self._family.prefix}{module.format(layer)}.{_PARTS[names[-1]]}.weight"

    def _tensor(self, key: str, shape: tuple[int, ...]) -> Shaped[np.ndarray, "inputs outputs"]:
        """Transposed, as ours are."""
        if key not in self._tensors:
            raise HuggingFaceError(f"{self.folder / WEIGHTS}: there is no {key}; every layer must have an adapter")
        found = self._tensors[key].T
        if found.shape != shape:
            raise HuggingFaceError(
                f"{self.folder / WEIGHTS}: {key} has shape {found.shape[::-1]}; for this base it would be {shape[::-1]}"
            )
        return found

    def _targets(self) -> tuple[str, ...]:
        """Our names of the modules that there are tensors for."""
        alone = {names[-2]: s.name for names, s in self._family.layer.items() if names[-1] == "kernel" and not s.fused}
        named = {PREFIX + self._family.prefix + name.removesuffix(".weight"): ours for ours, name in alone.items()}
        parts = "|".join(_PARTS.values())
        found, unknown = set(), []
        for key in self._tensors:
            module = re.sub(r"\.\d+\.", ".{}.", re.sub(rf"\.({parts})\.weight$", "", key), count=1)
            if module in named and key != module:
                found.add(named[module])
            elif key != PREFIX + HEAD:
                unknown.append(key)
        if unknown:
            raise HuggingFaceError(f"{self.folder / WEIGHTS}: nothing takes {', '.join(sorted(unknown))}")
        return tuple(name for name in alone if name in found)


def base_of(folder: Path) -> str | None:
    """The name or folder of the base of an adapter in PEFT's format; None for a folder that holds no adapter.

    Raises:
      HuggingFaceError: for an adapter that doesn't say.
    """
    path = folder / CONFIG
    if not path.exists():
        return None
    base = _described(path).get("base_model_name_or_path")
    if not base:
        raise HuggingFaceError(f"{path} has no base_model_name_or_path; right would be the model it was trained on")
    return base


def _described(path: Path) -> dict[str, Any]:
    """What the file of the adapter says, if that is what ours compute."""
    try:
        about = json.loads(path.read_text())
    except FileNotFoundError:
        raise HuggingFaceError(f"{path} doesn't exist; right would be a folder in PEFT's format") from None
    except json.JSONDecodeError as error:
        raise HuggingFaceError(f"{path} is not JSON: {error}") from error
    if about.get("peft_type") != "LORA":
        raise HuggingFaceError(f"{path}: peft_type is {about.get('peft_type')!r}; supported is 'LORA'")
    wrong = {name: value for name, value in about.items() if name not in _NEUTRAL and value and value != "none"}
    if about.get("init_lora_weights") not in _PLAIN_STARTS:
        wrong["init_lora_weights"] = about["init_lora_weights"]
    if set(about.get("modules_to_save") or ()) - {_HEAD_MODULE, "classifier"}:  # PEFT lists both of its own accord
        wrong["modules_to_save"] = about["modules_to_save"]
    if wrong:
        listed = ", ".join(f"{name} = {value!r}" for name, value in sorted(wrong.items()))
        raise HuggingFaceError(f"{path}: these options are not supported: {listed}")
    if missing := sorted({"r", "lora_alpha"} - set(about)):
        raise HuggingFaceError(f"{path} has no {' and no '.join(missing)}")
    return about


def _tensors_of(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise HuggingFaceError(f"{path} doesn't exist; right would be a folder in PEFT's format, with safetensors")
    with safe_open(path, framework="numpy") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 it is no dict
