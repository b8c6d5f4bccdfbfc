"""Reward models in Hugging Face's format, taken as they are: a folder or an id on the hub, with the contract beside
the weights where this project wrote them."""

import json
from pathlib import Path
from typing import Any

import jax
from absl import logging
from etils import epath

from rmjax.batches.contract import TextContract, text_from_json, text_to_json
from rmjax.batches.pretrained import load_pretrained_text
from rmjax.batches.tokenizer import load_tokenizer, vocabulary_size_of
from rmjax.config import BatchConfig, DataConfig, ExperimentConfig, TextConfig, validate
from rmjax.errors import UserError
from rmjax.hub import HUB, folder_of
from rmjax.model_config import ComputeDtype
from rmjax.models.huggingface import HuggingFaceModel
from rmjax.training.parallel import make_model_here, make_parallel_here
from rmjax.training.scoring_record import ScoringRecord
from rmjax.training.trained import TrainedModel, load_trained

CONTRACT = "scoring_contract.json"
_LONGEST = 4096  # tokens of a conversation, of models that say nothing themselves
_ROWS = 4
_LIMITS = ("max_prompt_tokens", "max_response_tokens")


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


def load_model(name: epath.PathLike, step: int | None = None) -> TrainedModel:
    """A reward model: that of a run by its workdir (``load_trained``), or a portable one (``load_portable``), which
    has no steps to choose from."""
    if not is_portable(name):
        return load_trained(name, step)
    if step is not None:
        raise PortableModelError(f"{name} is a model in Hugging Face's format, so it has no checkpoint of step {step}")
    return load_portable(name)


def load_portable(name: epath.PathLike) -> TrainedModel:
    """The reward model of a folder, or of ``hf://OWNER/NAME``.

    One that ``python -m rmjax.export`` wrote is read through the text contract of its run, another through its own
    tokenizer and chat template, at most 4096 tokens of a conversation, half of them the response.

    Raises:
      PortableModelError: for a language model without a reward head.
      HubError, HuggingFaceError, TokenizerError: for what can't be had or read.
    """
    folder = folder_of(str(name))
    theirs = HuggingFaceModel(folder)
    if not theirs.has_reward_head:
        raise PortableModelError(f"{name} is a language model without a reward head; right would be a reward model")
    stored = _read_contract(folder)
    text = _limits(stored, theirs)
    contract = _text_contract(folder, stored, text)
    rows = max(theirs.vocabulary_size, vocabulary_size_of(contract.tokenizer))
    theirs.config.vocabulary_size = rows
    theirs.config.compute_dtype = ComputeDtype(stored.get("compute_dtype", ComputeDtype.FLOAT32.value))
    config = ExperimentConfig(
        dimension=stored.get("dimension", "unnamed"),
        data=DataConfig(transcripts_as_messages=stored.get("transcripts_as_messages", False)),
        model=theirs.config,
        text=text,
        batch=BatchConfig(rows=_ROWS),
    )
    validate(config)
    model = make_model_here(config.model, rows)
    params = theirs.load(make_parallel_here(config).abstract_params(model), jax.random.PRNGKey(0))
    found = stored.get("record")
    record = None if found is None else ScoringRecord.from_json(found)
    return TrainedModel(config=config, model=model, params=params, contract=contract, step=0, record=record)


def contract_to_json(trained: TrainedModel, head: str, record: ScoringRecord | None) -> str:
    """What is kept beside exported weights: how text reaches the model, where its reward is read, golden scores."""
    contract = trained.contract
    return json.dumps(
        {
            "dimension": head or trained.config.dimension,
            "reward_is_read_at": "the last token of a conversation",
            "max_prompt_tokens": contract.max_prompt_tokens,
            "max_response_tokens": contract.max_response_tokens,
            "text": json.loads(text_to_json(contract.template, contract.special)),
            "transcripts_as_messages": trained.config.data.transcripts_as_messages,
            "compute_dtype": trained.config.model.compute_dtype.value,
            "record": None if record is None else record.to_json(),
        },
        indent=2,
    )


def _read_contract(folder: Path) -> dict[str, Any]:
    path = folder / CONTRACT
    if not path.exists():
        logging.info("%s has no %s: its own tokenizer and chat template are read", folder, CONTRACT)
        return {}
    try:
        stored = json.loads(path.read_text())
        text_from_json(json.dumps(stored["text"]))
        ComputeDtype(stored["compute_dtype"])
        if stored["record"] is not None:
            ScoringRecord.from_json(stored["record"])
        return {**stored, **{name: int(stored[name]) for name in _LIMITS}}
    except (ValueError, TypeError, KeyError) as error:
        raise PortableModelError(f"{path} can't be read as a scoring contract: {error!r}") from error


def _limits(stored: dict[str, Any], theirs: HuggingFaceModel) -> TextConfig:
    if stored:
        return TextConfig(**{name: stored[name] for name in _LIMITS})
    positions = [theirs.theirs.get(name) for name in ("max_position_embeddings", "n_positions")]
    longest = min(_LONGEST, *filter(None, positions))
    return TextConfig(max_prompt_tokens=longest // 2, max_response_tokens=longest // 2)


def _text_contract(folder: Path, stored: dict[str, Any], text: TextConfig) -> TextContract:
    if not stored:
        tokenizer, template, special = load_pretrained_text(folder)
        return TextContract.from_config(text, tokenizer, template, special)
    template, special = text_from_json(json.dumps(stored["text"]))
    return TextContract.from_config(text, load_tokenizer(folder / "tokenizer.json", special), template, special)
