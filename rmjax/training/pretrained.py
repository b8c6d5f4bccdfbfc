"""Training that begins with somebody else's model: its architecture in the config, its weights in the first state."""

import dataclasses
from pathlib import Path

import jax
from absl import logging
from etils import epath
from flax.traverse_util import unflatten_dict

from rmjax.batches.contract import TextContract
from rmjax.batches.tokenizer import vocabulary_size_of
from rmjax.config import ConfigError, ExperimentConfig, validate
from rmjax.errors import remedied
from rmjax.hub import folder_of
from rmjax.model_config import NOT_ARCHITECTURE, ModelConfig
from rmjax.models.huggingface import HuggingFaceModel
from rmjax.models.lora import leaves_of, merging
from rmjax.models.peft_format import PeftAdapter, base_of
from rmjax.models.reward import HEAD_KERNEL, Params, RewardModel
from rmjax.models.shape import model_shape
from rmjax.training.strategy import Parallel
from rmjax.training.tuning import adapters_of
from rmjax.training.workdir import CONFIG, has_checkpoint, read_config


def with_architecture(config: ExperimentConfig, workdir: epath.PathLike) -> ExperimentConfig:
    """The config with the architecture of ``config.pretrained`` as its model, validated; as it is where there is none.

    A run that has a checkpoint needs the pretrained model no more: its own config says what the architecture is.

    Raises:
      ConfigError: where the config's model has an architecture of its own that isn't that one, or what else it says
        doesn't suit it.
      HubError, HuggingFaceError: where the pretrained model can't be had, or not be read.
    """
    if config.pretrained is None:
        return config
    model = _stored_model(config, workdir) or _their_model(config.pretrained)
    fresh = ModelConfig()
    for part in dataclasses.fields(ModelConfig):
        given, own = getattr(config.model, part.name), getattr(model, part.name)
        if part.name in NOT_ARCHITECTURE and part.name not in ("vocabulary_size", "max_positions"):
            setattr(model, part.name, given)
        elif part.name == "max_positions":
            model.max_positions = own if given is None else given
        elif given not in (own, getattr(fresh, part.name)):
            raise ConfigError(
                f"config.model.{part.name} is {given!r}; it must be left as it is by default, for it is {own!r} in "
                f"config.pretrained = {config.pretrained!r}"
            )
    found = dataclasses.replace(config, model=model)
    with remedied(ConfigError, lambda _: f"the architecture is that of config.pretrained = {config.pretrained!r}"):
        validate(found)
    return found


def _stored_model(config: ExperimentConfig, workdir: epath.PathLike) -> ModelConfig | None:
    """Of the run that goes on there; None where one begins."""
    if not (epath.Path(workdir) / CONFIG).exists() or not has_checkpoint(workdir):
        return None
    stored = read_config(workdir)
    return stored.model if stored.pretrained == config.pretrained else None


def _their_model(name: str) -> ModelConfig:
    theirs = _base(folder_of(name))
    return dataclasses.replace(theirs.config, vocabulary_size=theirs.vocabulary_size)


def _opened(name: str) -> tuple[HuggingFaceModel, PeftAdapter | None]:
    """The model, and the adapter that lies on it where the name is that of one in PEFT's format."""
    folder = folder_of(name)
    theirs = _base(folder)
    return theirs, None if base_of(folder) is None else PeftAdapter(folder, theirs.theirs["model_type"])


def _base(folder: Path) -> HuggingFaceModel:
    """The model of a folder, or that which the adapter in it lies on."""
    base = base_of(folder)
    return HuggingFaceModel(folder if base is None else folder_of(base))


def text_folder(name: str) -> Path:
    """Where the tokenizer of a pretrained model lies: of an adapter without one, that of its base."""
    folder = folder_of(name, weights=False)
    base = base_of(folder)
    return folder if base is None or (folder / "tokenizer_config.json").exists() else folder_of(base, weights=False)


def embedding_rows(model: ModelConfig, contract: TextContract) -> int:
    """How many rows the embedding has: as the config says, and never fewer than the tokenizer's ids need."""
    return max(model.vocabulary_size or 0, vocabulary_size_of(contract.tokenizer))


def pretrained_params(config: ExperimentConfig, model: RewardModel, parallel: Parallel) -> Params | None:
    """The parameters that training begins with, where the strategy wants them; None where they are fresh.

    A language model gets a fresh reward head, a function of the seed; a reward model keeps its own. An adapter in
    PEFT's format is trained on where ``config.tuning`` has just such adapters, and merged into its base where it has
    none.

    Raises:
      ConfigError: where it has others, or where an ensemble would begin with one reward head.
    """
    if config.pretrained is None:
        return None
    theirs, adapter = _opened(config.pretrained)
    headed = theirs.has_reward_head or (adapter is not None and adapter.has_reward_head)
    logging.info(
        "training begins with %s, %s", config.pretrained,
        "its reward head too" if headed else "a language model, and a fresh reward head",
    )  # fmt: skip
    if headed and config.model.ensemble > 1:
        raise ConfigError(
            f"config.model.ensemble is {config.model.ensemble!r}; it must be 1, as config.pretrained = "
            f"{config.pretrained!r} has a reward head, and members that begin alike say nothing of how sure it is"
        )
    params = _loaded(theirs, adapter, config, model, parallel)
    if config.model.ensemble_scale != 1.0:
        module, name = HEAD_KERNEL
        params[module][name] *= config.model.ensemble_scale
    return params


def _loaded(
    theirs: HuggingFaceModel,
    adapter: PeftAdapter | None,
    config: ExperimentConfig,
    model: RewardModel,
    parallel: Parallel,
) -> Params:
    key, template = jax.random.PRNGKey(config.seed), parallel.abstract_params(model)
    if adapter is None:
        return theirs.load(template, key)
    if adapters_of(config) is None:
        beside = parallel.abstract_params(model.clone(config=model_shape(config.model, adapter.adapters)))
        wanted, leaves = leaves_of(template), leaves_of(adapter.onto(theirs.load(beside, key), beside))
        found = {
            names: jax.device_put(leaf.astype(wanted[names].dtype), wanted[names].sharding)
            for names, leaf in merging(leaves, adapter.adapters)
        }
        return unflatten_dict(found)
    if adapters_of(config) != adapter.adapters:
        found = adapter.adapters
        raise ConfigError(
            f"config.tuning.lora_rank is {config.tuning.lora_rank!r}; it must be 0, to merge the adapters of "
            f"config.pretrained, or to train them on {found.rank}, with config.tuning.lora_alpha={found.alpha:g} and "
            f"config.tuning.lora_targets={found.targets!r}"
        )
    return adapter.onto(theirs.load(template, key), template)
