"""A trained reward model as a folder that transformers, and what is built on it, loads."""

import contextlib
import dataclasses
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from rmjax.batches.contract import TextContract
from rmjax.batches.jinja_template import JinjaTemplate
from rmjax.batches.template import RoleTemplate, Template
from rmjax.batches.tokenizer import save_tokenizer
from rmjax.errors import UserError
from rmjax.evaluation.golden import GoldenText, check_golden, golden_scores, is_exact
from rmjax.evaluation.rewards import RewardComputer
from rmjax.model_config import ComputeDtype, fault_of_head
from rmjax.models.huggingface_export import SHARD_BYTES, theirs_of, write_weights
from rmjax.scoring.card import model_card, read_results
from rmjax.scoring.golden_texts import golden_texts
from rmjax.training.portable import CONTRACT, contract_to_json, is_portable, load_model, load_portable, run_of, step_of
from rmjax.training.pretrained import embedding_rows
from rmjax.training.scoring_record import ScoringRecord
from rmjax.training.trained import TrainedModel
from rmjax.training.tuning import adapters_of
from rmjax.training.workdir import read_about_data


class ExportError(UserError):
    """What can't be exported as it was asked for."""


def export(
    workdir: epath.PathLike,
    output: Path | str,
    *,
    step: int | None = None,
    head: str | None = None,
    dtype: str = "float32",
    report: epath.PathLike | None = None,
    license: str | None = None,
    golden: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Writes the model of a run as a ``…ForSequenceClassification`` with its tokenizer, whole or not at all.

    Args:
      workdir: of the run.
      output: a folder that doesn't exist yet.
      step: the checkpoint; the best by ``config.best_by`` if not given.
      head: the reward head that is exported; needed where the model has several.
      dtype: of the weights, ``float32`` or ``bfloat16``.
      report: of ``rmjax.evaluate``, whose results on this model go into the model card.
      license: of the model, for its card.
      golden: the conversations that are written with their scores, as ``golden_texts`` takes them; by default those of
        the model's record, which are of the validation data.
      shard_bytes: the most that one file of weights holds.

    Raises:
      ExportError: where the output exists or is in a bucket, the head isn't among the model's, or golden conversations
        are given of a step that was saved without validation.
      FileError, RowError: for golden conversations that can't be read, or that the contract can't take.
      CardError: where the report has no results of this workdir, or those of another step or run.
      GoldenScoreError: where the model, read back from its folder, doesn't give its golden scores.
      HuggingFaceError: for an architecture that transformers doesn't have.
      WorkdirError, ConfigError, TokenizerError, CheckpointError: as ``load_model``.
    """
    output = check_output(output)
    texts = None if golden is None else golden_texts(golden)
    results = []
    if report is not None:
        measured = step_of(workdir, step)
        results = read_results(report, os.fspath(workdir), run=run_of(workdir), step=measured)
        step = None if is_portable(workdir) else measured  # that one, though a better may come meanwhile
    trained = load_model(workdir, step)
    heads = trained.config.model.reward_heads
    number = number_of_head(head, heads)
    dimension = heads[number] if heads else trained.config.dimension
    longest = trained.contract.max_prompt_tokens + trained.contract.max_response_tokens
    theirs = theirs_of(trained.config.model, embedding_rows(trained.config.model, trained.contract), longest=longest)
    with made_whole(output) as folder:
        written = theirs | _classifier(trained.contract, dimension) | {"dtype": dtype}
        (folder / "config.json").write_text(json.dumps(written, indent=2) + "\n")
        write_tokenizer(folder, trained.contract, longest)
        write_weights(
            folder, theirs["model_type"], trained.config.model, trained.params, head=number, dtype=dtype,
            shard_bytes=shard_bytes, adapters=adapters_of(trained.config),
        )  # fmt: skip
        trained = dataclasses.replace(trained, params={})  # they are free before what was written is read
        record = _write_contract(folder, trained, number, dimension, dtype, texts)
        data = [] if is_portable(workdir) else read_about_data(workdir)
        card = model_card(trained, dimension=dimension, data=data, results=results, record=record, license=license)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return output


def check_output(output: Path | str) -> Path:
    """The folder that is to be made; ExportError where it exists or is in a bucket."""
    if "://" in os.fspath(output):
        raise ExportError(f"{output} is no folder of this machine; right would be one, to be copied from there")
    if Path(output).exists():
        raise ExportError(f"{output} exists already; right would be the name of a new folder")
    return Path(output)


@contextlib.contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A new folder that takes its name when the block ends without an error, and is gone otherwise."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}"
    temporary.mkdir()
    try:
        yield temporary
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def number_of_head(head: str | None, heads: tuple[str, ...]) -> int:
    """Which output of the model the named reward head is; ExportError where it isn't among them, or isn't named."""
    if fault := fault_of_head(head, heads):
        raise ExportError(f"the model {fault}")
    return 0 if head is None else heads.index(head)


def _classifier(contract: TextContract, label: str) -> dict[str, Any]:
    """What config.json says of the head and the special tokens."""
    tokenizer, special = contract.tokenizer, contract.special
    return {
        "num_labels": 1,
        "id2label": {"0": label},
        "label2id": {label: 0},
        "pad_token_id": tokenizer.token_to_id(special.pad),
        "eos_token_id": tokenizer.token_to_id(special.end),
        "bos_token_id": tokenizer.token_to_id(special.beginning),
    }


def _write_contract(
    folder: Path,
    trained: TrainedModel,
    head: int,
    dimension: str,
    dtype: str,
    texts: Sequence[GoldenText] | None,
) -> ScoringRecord | None:
    """Writes the scoring contract, with golden scores as the weights in the folder give them, which are held to those
    of the checkpoint: as close as rounding explains, that of the weights too. Then those of ``texts`` take their place
    where such are given."""
    path = folder / CONTRACT
    exact = dtype == "float32" and is_exact(trained)
    written = dataclasses.replace(trained, recorded_in=trained.config.model.compute_dtype)  # the scores are made anew
    path.write_text(contract_to_json(written, dimension, None))
    if trained.record is None:
        if texts is not None:
            raise ExportError(f"{trained.unvalidated}, so no golden scores are written")
        return None
    exported = load_portable(folder, parallel=trained.config.parallel, stored_in=ComputeDtype(dtype))
    compute = RewardComputer(exported.model, exported.config)
    record = check_golden(exported, trained.record.of_head(head), compute, exact=exact)
    if texts is not None:
        record = dataclasses.replace(record, golden=golden_scores(exported, texts, compute))
    path.write_text(contract_to_json(written, dimension, record))
    return record


def write_tokenizer(folder: Path, contract: TextContract, longest: int) -> None:
    """Writes the tokenizer as transformers reads it; ``longest`` is the most tokens of a conversation."""
    save_tokenizer(contract.tokenizer, folder / "tokenizer.json")
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **(dict(contract.template.variables) if isinstance(contract.template, JinjaTemplate) else {}),
        "pad_token": contract.special.pad,
        "eos_token": contract.special.end,
        "model_max_length": longest,
        "clean_up_tokenization_spaces": False,
        "chat_template": chat_template(contract.template, contract.special.end),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about, indent=2) + "\n")


def chat_template(template: Template, end: str) -> str:
    """The Jinja template that renders messages as the contract does: a whole conversation with the end token, or with
    ``add_generation_prompt`` a prompt."""
    if isinstance(template, JinjaTemplate):
        return template.source
    assert isinstance(template, RoleTemplate)
    cases = [
        f"{{% {'elif' if number else 'if'} message['role'] == {role!r} %}}"
        f"{{{{ {before!r} + message['content'] + {after!r} }}}}"
        for number, (role, before, after) in enumerate(template.turns)
    ]
    known = ", ".join(role for role, _, _ in template.turns)
    wrong = f"{{% else %}}{{{{ raise_exception({f'the roles are {known}'!r}) }}}}{{% endif %}}"
    ending = (
        f"{{% if add_generation_prompt %}}{{{{ {template.generation_prompt!r} }}}}"
        f"{{% else %}}{{{{ {end!r} }}}}{{% endif %}}"
    )
    turns = f"{{% for message in messages %}}{''.join(cases)}{wrong}{{% endfor %}}"
    return f"{{{{ {template.beginning!r} }}}}{turns}{ending}"
