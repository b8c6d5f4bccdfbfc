"""Reward models in Hugging Face's format, taken as they are: a folder or an id on the hub, with the contract beside
the weights where this project wrote them."""

import dataclasses
import json
from pathlib import Path

import jax
from absl import logging
from etils import epath

from rmjax.batches.contract import TextContract, text_from_values, text_to_values
from rmjax.batches.pretrained import load_pretrained_text
from rmjax.batches.tokenizer import load_tokenizer
from rmjax.config import (
    BatchConfig,
    ConfigError,
    DataConfig,
    ExperimentConfig,
    ParallelConfig,
    TextConfig,
    TuningConfig,
    validate,
)
from rmjax.errors import UserError, remedied
from rmjax.hub import HUB, folder_of
from rmjax.model_config import ComputeDtype
from rmjax.models.huggingface import HuggingFaceModel
from rmjax.training.parallel import make_model_here, make_parallel_here
from rmjax.training.pretrained import embedding_rows
from rmjax.training.scoring_record import ScoringRecord
from rmjax.training.trained import TrainedModel, chosen_step, load_trained
from rmjax.training.tuning import HEAD
from rmjax.training.workdir import digest_of, read_config, run_digest

CONTRACT = "scoring_contract.json"
_LONGEST = 4096  # tokens of a conversation, of models that say nothing themselves
_ROWS = 4


class PortableModelError(UserError):
    """A folder that holds no reward model: the message says what it holds."""


def is_portable(name: epath.PathLike) -> bool:
    """Whether that is a model in Hugging Face's format, and not the workdir of a run."""
    if str(name).startswith(HUB):
        return True
    config = epath.Path(name) / "config.json"
    if "://" in str(name) or not config.exists():
        return False
    try:
        return "model_type" in json.loads(config.read_text())
    except ValueError:
        return False


def load_model(
    name: epath.PathLike, step: int | None = None, *, compute_dtype: ComputeDtype = ComputeDtype.FLOAT32
) -> TrainedModel:
    """A reward model: that of a run by its workdir (``load_trained``), or a portable one (``load_portable``), which
    has no steps to choose from."""
    if not is_portable(name):
        return load_trained(name, step, compute_dtype=compute_dtype)
    _check_step(name, step)
    return load_portable(name, compute_dtype=compute_dtype)


def config_of(name: epath.PathLike) -> ExperimentConfig:
    """The config of the model that ``load_model`` gives, before any parameter is read; errors as its."""
    return _config(name, *_described(name)) if is_portable(name) else read_config(name)


def step_of(name: epath.PathLike, step: int | None = None) -> int:
    """The step of the model that ``load_model`` gives, before any parameter is read; 0 of a portable one."""
    if not is_portable(name):
        return chosen_step(name, step)
    _check_step(name, step)
    return 0


def run_of(name: epath.PathLike) -> str:
    """What tells a model from another under the same name: of a run ``run_digest``, of a portable model a digest of
    its config and of the scoring contract beside it."""
    if not is_portable(name):
        return run_digest(name)
    folder = folder_of(str(name))
    beside = [path for name in ("config.json", CONTRACT) if (path := folder / name).exists()]
    return digest_of(*(path.read_text() for path in beside))


def _check_step(name: epath.PathLike, step: int | None) -> None:
    if step is not None:
        raise PortableModelError(f"{name} is a model in Hugging Face's format, so it has no checkpoint of step {step}")


def load_portable(
    name: epath.PathLike,
    *,
    parallel: ParallelConfig | None = None,
    stored_in: ComputeDtype = ComputeDtype.FLOAT32,
    compute_dtype: ComputeDtype = ComputeDtype.FLOAT32,
) -> TrainedModel:
    """The reward model of a folder, or of ``hf://OWNER/NAME``.

    One that ``python -m rmjax.export`` wrote is read through the text contract of its run, another through its own
    tokenizer and chat template, at most 4096 tokens of a conversation, or as many as it has positions for; half are the
    response's.

    Args:
      name: of the folder, or of the model on the hub.
      parallel: how it is laid over devices where these allow it; None is the default of a config.
      stored_in: the dtype of its matrices in memory, but for the reward head.
      compute_dtype: of products and activations, as ``load_trained`` has it.

    Raises:
      PortableModelError: for a language model without a reward head.
      ConfigError: where the limits of its contract are for longer texts than the model has positions for.
      HubError, HuggingFaceError, TokenizerError: for what can't be had or read.
    """
    theirs, contract = _described(name)
    if not contract.written:
        logging.info("%s has no %s: its own tokenizer and chat template are read", theirs.folder, CONTRACT)
    config = _config(name, theirs, contract, parallel=parallel, stored_in=stored_in, compute_dtype=compute_dtype)
    model = make_model_here(config.model, embedding_rows(config.model, contract.text))
    params = theirs.load(make_parallel_here(config).abstract_params(model), jax.random.PRNGKey(0))
    return TrainedModel(
        config=config, model=model, params=params, contract=contract.text, step=0, record=contract.record,
        recorded_in=contract.compute_dtype, limits=contract.limits,
        unvalidated=f"{name} came without a record of its rewards",
    )  # fmt: skip


def _described(name: epath.PathLike) -> tuple[HuggingFaceModel, "_ScoringContract"]:
    """A portable model and its contract, as its folder describes them; no parameter is read."""
    folder = folder_of(str(name))
    theirs = HuggingFaceModel(folder)
    if not theirs.has_reward_head:
        raise PortableModelError(f"{name} is a language model without a reward head; right would be a reward model")
    return theirs, _read_contract(folder) or _own_contract(folder, theirs)


def _config(
    name: epath.PathLike,
    theirs: HuggingFaceModel,
    contract: "_ScoringContract",
    *,
    parallel: ParallelConfig | None = None,
    stored_in: ComputeDtype = ComputeDtype.FLOAT32,
    compute_dtype: ComputeDtype = ComputeDtype.FLOAT32,
) -> ExperimentConfig:
    """The config of a portable model, as that of a run would be; arguments as ``load_portable``."""
    theirs.config.compute_dtype = compute_dtype
    theirs.config.vocabulary_size = embedding_rows(
        dataclasses.replace(theirs.config, vocabulary_size=theirs.vocabulary_size), contract.text
    )
    config = ExperimentConfig(
        dimension=contract.dimension,
        data=DataConfig(transcripts_as_messages=contract.transcripts_as_messages),
        model=theirs.config,
        text=TextConfig(
            max_prompt_tokens=contract.text.max_prompt_tokens, max_response_tokens=contract.text.max_response_tokens
        ),
        batch=BatchConfig(rows=_ROWS),
        parallel=parallel or ParallelConfig(),
        tuning=TuningConfig(trained=(HEAD,), frozen_dtype=stored_in),  # that which isn't trained is stored so
    )
    with remedied(ConfigError, lambda _: f"the model is {name}, its limits are those of its {CONTRACT}"):
        validate(config)
    return config


def contract_to_json(trained: TrainedModel, dimension: str, record: ScoringRecord | None) -> str:
    """What is kept beside exported weights: how text reaches the model, where its reward is read, golden scores."""
    contract = trained.contract
    return json.dumps(
        {
            "dimension": dimension,
            "reward_is_read_at": "the last token of a conversation",
            "max_prompt_tokens": contract.max_prompt_tokens,
            "max_response_tokens": contract.max_response_tokens,
            "text": text_to_values(contract.template, contract.special),
            "transcripts_as_messages": trained.config.data.transcripts_as_messages,
            "compute_dtype": trained.recorded_in.value,
            "record": None if record is None else record.to_json(),
        },
        indent=2,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _ScoringContract:
    """What lies beside the weights (``written``), or is taken for it where nothing does."""

    written: bool
    text: TextContract
    dimension: str = "unnamed"
    transcripts_as_messages: bool = False
    compute_dtype: ComputeDtype = ComputeDtype.FLOAT32
    record: ScoringRecord | None = None
    limits: str = f"those of its {CONTRACT}"


def _read_contract(folder: Path) -> _ScoringContract | None:
    """Of a model that this project wrote; None of another."""
    path = folder / CONTRACT
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text())
        template, special = text_from_values(stored["text"])
        limits = TextConfig(
            max_prompt_tokens=int(stored["max_prompt_tokens"]), max_response_tokens=int(stored["max_response_tokens"])
        )
        found = stored["record"]
        fields = {
            "dimension": stored["dimension"],
            "transcripts_as_messages": stored["transcripts_as_messages"],
            "compute_dtype": ComputeDtype(stored["compute_dtype"]),
            "record": None if found is None else ScoringRecord.from_json(found),
        }
    except (ValueError, TypeError, KeyError) as error:
        raise PortableModelError(f"{path} can't be read as a scoring contract: {error!r}") from error
    tokenizer = load_tokenizer(folder / "tokenizer.json", special)
    text = TextContract.from_config(limits, tokenizer, template, special)
    return _ScoringContract(written=True, text=text, **fields)


def _own_contract(folder: Path, theirs: HuggingFaceModel) -> _ScoringContract:
    longest = min(_LONGEST, theirs.config.position_embeddings or theirs.config.max_positions or _LONGEST)
    limits = TextConfig(max_prompt_tokens=longest // 2, max_response_tokens=longest // 2)
    positions = "it has positions for" if longest < _LONGEST else f"a model without a {CONTRACT} is read with"
    words = f"each half of the {longest} tokens that {positions}, and no flag changes them"
    text = TextContract.from_config(limits, *load_pretrained_text(folder))
    return _ScoringContract(written=False, text=text, limits=words)
