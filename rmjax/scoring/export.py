"""A trained reward model as a folder that transformers, and what is built on it, loads."""

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from etils import epath

from rmjax.batches.contract import RoleTemplate, TextContract
from rmjax.batches.tokenizer import END_TOKEN, PAD_TOKEN, save_tokenizer, vocabulary_size_of
from rmjax.errors import UserError
from rmjax.models.huggingface_export import SHARD_BYTES, theirs_of, write_weights
from rmjax.models.lora import merged
from rmjax.training.trained import TrainedModel, load_trained
from rmjax.training.tuning import adapters_of


class ExportError(UserError):
    """What can't be exported as it was asked for."""


def export(
    workdir: epath.PathLike,
    output: Path | str,
    *,
    step: int | None = None,
    head: str | None = None,
    dtype: str = "float32",
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Writes the model of a run as a ``…ForSequenceClassification`` with its tokenizer, whole or not at all.

    Args:
      workdir: of the run.
      output: a folder that doesn't exist yet.
      step: the checkpoint; the best by ``config.best_by`` if not given.
      head: the reward head that is exported; needed where the model has several.
      dtype: of the weights, ``float32`` or ``bfloat16``.
      shard_bytes: the most that one file of weights holds.

    Raises:
      ExportError: where the output exists or is in a bucket, or the head isn't among the model's.
      HuggingFaceError: for an architecture that transformers doesn't have.
      WorkdirError, ConfigError, TokenizerError, CheckpointError: as ``load_trained``.
    """
    if "://" in os.fspath(output):
        raise ExportError(f"{output} is no folder of this machine; right would be one, to be copied from there")
    output = Path(output)
    if output.exists():
        raise ExportError(f"{output} exists already; right would be the name of a new folder")
    trained = load_trained(workdir, step)
    number = number_of_head(head, trained.config.model.reward_heads)
    longest = trained.contract.max_prompt_tokens + trained.contract.max_response_tokens
    theirs = theirs_of(trained.config.model, vocabulary_size_of(trained.contract.tokenizer), longest=longest)
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.parent / f".{output.name}.{uuid.uuid4().hex[:8]}"
    temporary.mkdir()
    try:
        written = theirs | _classifier(trained, head) | {"dtype": dtype}
        (temporary / "config.json").write_text(json.dumps(written, indent=2) + "\n")
        _write_tokenizer(temporary, trained.contract, longest)
        write_weights(
            temporary, theirs["model_type"], trained.config.model, merged(trained.params, adapters_of(trained.config)),
            head=number, dtype=dtype, shard_bytes=shard_bytes,
        )  # fmt: skip
        temporary.rename(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return output


def number_of_head(head: str | None, heads: tuple[str, ...]) -> int:
    """Which output of the model the named reward head is; ExportError where it isn't among them, or isn't named."""
    if head is None and len(heads) < 2:
        return 0
    if head not in heads:
        found = f"has no reward head {head!r}" if head else "has several reward heads"
        raise ExportError(f"the model {found}; --head must be one of {', '.join(heads) or 'none: it has a single one'}")
    return heads.index(head)


def _classifier(trained: TrainedModel, head: str | None) -> dict[str, Any]:
    """What config.json says of the head and the special tokens."""
    tokenizer, heads = trained.contract.tokenizer, trained.config.model.reward_heads
    label = head or (heads[0] if heads else "reward")
    return {
        "num_labels": 1,
        "id2label": {"0": label},
        "label2id": {label: 0},
        "pad_token_id": tokenizer.token_to_id(PAD_TOKEN),
        "eos_token_id": tokenizer.token_to_id(END_TOKEN),
        "bos_token_id": None,
    }


def _write_tokenizer(folder: Path, contract: TextContract, longest: int) -> None:
    save_tokenizer(contract.tokenizer, folder / "tokenizer.json")
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD_TOKEN,
        "eos_token": END_TOKEN,
        "model_max_length": longest,
        "clean_up_tokenization_spaces": False,
        "chat_template": chat_template(contract.template),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about, indent=2) + "\n")


def chat_template(template: RoleTemplate) -> str:
    """The Jinja template that renders messages as the contract does: a whole conversation with the end token, or with
    ``add_generation_prompt`` a prompt."""
    cases = [
        f"{{% {'elif' if number else 'if'} message['role'] == {role!r} %}}"
        f"{{{{ {before!r} + message['content'] + {after!r} }}}}"
        for number, (role, before, after) in enumerate(template.turns)
    ]
    known = ", ".join(role for role, _, _ in template.turns)
    wrong = f"{{% else %}}{{{{ raise_exception({f'the roles are {known}'!r}) }}}}{{% endif %}}"
    ending = (
        f"{{% if add_generation_prompt %}}{{{{ {template.generation_prompt!r} }}}}"
        f"{{% else %}}{{{{ {END_TOKEN!r} }}}}{{% endif %}}"
    )
    turns = f"{{% for message in messages %}}{''.join(cases)}{wrong}{{% endfor %}}"
    return f"{{{{ {template.beginning!r} }}}}{turns}{ending}"
