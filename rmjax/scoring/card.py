"""The model card of an exported reward model: what it was trained on, what was measured, how it is scored."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from rmjax.batches.jinja_template import JinjaTemplate
from rmjax.errors import UserError
from rmjax.evaluation.measure import RESULTS
from rmjax.training.scoring_record import ScoringRecord
from rmjax.training.trained import TrainedModel

_SHOWN = 4  # golden conversations
_USES = ("trained on", "held out", "skipped")
_COUNTS = ("dimension", "source", "comparisons", "skipped")
_MEASURED = ("accuracy", "accuracy_low", "accuracy_high", "ece", "nll", "length_baseline_accuracy")


class CardError(UserError):
    """Results that are not those of the model: the message says what was found."""


def model_card(
    trained: TrainedModel,
    *,
    dimension: str,
    data: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    record: ScoringRecord | None,
    license: str | None,
    base: str | None = None,
) -> str:
    """The card as Markdown with the metadata that the hub reads.

    Args:
      trained: the model.
      dimension: what its rewards are of.
      data: of each data spec that it was trained and validated on, as ``read_about_data`` gives them.
      results: lines of ``rmjax.evaluate`` on other data.
      record: the golden scores of the export.
      license: of the model, where its owner states one.
      base: what an adapter lies on; None for a whole model.
    """
    parts = [
        _metadata(trained, license, base),
        f"# A reward model of {dimension}\n\n"
        f"It gives a response to a prompt a number: the higher, the better the response is on {dimension}, as those "
        "saw it who judged its training data, and on nothing else. Numbers are comparable within a prompt.",
        _use(trained, base),
        "## Data\n\n" + _data(data),
        "## Measured\n\n" + _measured(trained, dimension, results),
        *(
            ["## Training\n\n" + _training(trained)] if trained.step else []
        ),  # of a model that was trained elsewhere: nothing
        "## The scoring contract\n\n" + _contract(trained, record),
    ]
    return "\n\n".join(parts) + "\n"


def read_results(report: epath.PathLike, workdir: str, *, run: str, step: int) -> list[dict[str, Any]]:
    """The lines of a report's results that are of a workdir.

    Raises:
      CardError: where there is none, or one that was measured at another step or on another run in that folder.
    """
    path = epath.Path(report) / RESULTS
    if not path.exists():
        raise CardError(f"{path} doesn't exist; right would be the folder of a report of rmjax.evaluate")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    own = [(number, line) for number, line in enumerate(lines, 1) if line["model"].rstrip("/") == workdir.rstrip("/")]
    if not own:
        models = ", ".join(sorted({line["model"] for line in lines}))
        raise CardError(f"{path} has no result of {workdir}; it has those of {models}")
    for number, line in own:
        for field, expected in (("run", run), ("step", step)):
            if line.get(field) != expected:
                raise CardError(
                    f"{path}, line {number}: {field} is {line.get(field)!r}; it must be {expected!r}, that of the "
                    f"model from {workdir} that the card is for; right would be a report of that one"
                )
    return [line for _, line in own]


def _metadata(trained: TrainedModel, license: str | None, base: str | None) -> str:
    fields: dict[str, Any] = {
        "library_name": "transformers" if base is None else "peft",
        "pipeline_tag": "text-classification",
        "tags": ["reward-model", "rmjax"],
    }
    if license is not None:
        fields["license"] = license
    began_with = base or trained.config.pretrained
    if began_with is not None and not Path(began_with).exists():
        fields["base_model"] = began_with.removeprefix("hf://").partition("@")[0]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]  # JSON is YAML too
    return "\n".join(["---", *lines, "---"])


_PEFT = "from peft import PeftModel\n"
_WHOLE = "model = AutoModelForSequenceClassification.from_pretrained(FOLDER).eval()"
_ON_BASE = """model = AutoModelForSequenceClassification.from_pretrained({0!r}, num_labels=1)
if len(tokenizer) > model.config.vocab_size:  # the pad token of the adapter's tokenizer may have no row there
    model.resize_token_embeddings(len(tokenizer))
model.config.pad_token_id = tokenizer.pad_token_id
model = PeftModel.from_pretrained(model, FOLDER).eval()"""


def _use(trained: TrainedModel, base: str | None) -> str:
    ended = isinstance(trained.contract.template, JinjaTemplate)
    return f"""## Use

```python
import torch
{"" if base is None else _PEFT}from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(FOLDER)
{_WHOLE if base is None else _ON_BASE.format(base)}
messages = [{{"role": "user", "content": PROMPT}}, {{"role": "assistant", "content": RESPONSE}}]
tokens = tokenizer.apply_chat_template(messages, return_tensors="pt")
# of plain texts: tokens = tokenizer(prompt + response + tokenizer.eos_token, return_tensors="pt")
with torch.no_grad():
    reward = model(**tokens).logits[0, 0].item()
```

The reward is read at the last token, {"which the chat template writes" if ended else "the end token"}; the pad token
is another one. The template writes the token that begins a text, if there is one: a rendered text must not get a
second."""


def _data(data: Sequence[Mapping[str, Any]]) -> str:
    if not data:
        return "Nothing is noted of the data that it was trained on."
    rows, notes = [], []
    for entry in data:
        prompts = entry["prompts"]
        for kind in sorted(set().union(*prompts.values())):
            counts = (str(prompts[use].get(kind, 0)) for use in _USES)
            rows.append((f"`{entry['spec']}`", kind, *counts, entry["license"] or "not stated"))
        if entry["unread rows"]:
            notes.append(f"Of `{entry['spec']}` {entry['unread rows']} rows could not be read.")
    if any(kind.endswith("/human") for _, kind, *_ in rows):
        notes.append("Judgments that don't say whose they are count as human.")
    head = ("data", "dimension/source of the judgments", *(f"prompts {use}" for use in _USES), "license of the data")
    return "\n\n".join([_table(head, rows), *notes])


def _of_head(
    validation: Mapping[str, float], results: Sequence[Mapping[str, Any]], head: str
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """What was measured of one of several heads."""
    own = f"/{head}"
    found = {name.removesuffix(own): value for name, value in validation.items() if name.endswith(own)}
    lines = []
    for line in results:
        if line.get("head") == head:
            lines.append(dict(line))
        elif head in line.get("heads", {}):
            skipped = f"{line['skipped']} of all heads"
            lines.append(dict(line) | line["heads"][head] | {"dimension": head, "skipped": skipped})
    return found, lines


def _measured(trained: TrainedModel, dimension: str, results: Sequence[Mapping[str, Any]]) -> str:
    parts, validation = [], trained.validation
    if len(trained.config.model.reward_heads) > 1:
        validation, results = _of_head(validation, results, dimension)
    if validation:
        named = ", ".join(f"{name} {value:.4g}" for name, value in validation.items())
        parts.append(f"On validation data, by which step {trained.step} was chosen: {named}.")
    if results:
        head = (
            "data",
            "dimension",
            "source",
            "comparisons",
            "left out",
            "accuracy (95 % interval)",
            "ECE",
            "NLL",
            "longer wins",
        )
        rows = []
        for line in results:
            accuracy, low, high, ece, nll, longer = (line[name] for name in _MEASURED)
            counts = (f"`{line['data']}`", *(str(line[name]) for name in _COUNTS))
            measured = (f"{accuracy:.3f} ({low:.3f} to {high:.3f})", f"{ece:.3f}", f"{nll:.3f}", f"{longer:.3f}")
            rows.append((*counts, *measured))
        parts.append(_table(head, rows))
        parts.append("ECE is the expected calibration error of the probability that the reward difference gives.")
    return "\n\n".join(parts) or "Nothing was measured."


def _training(trained: TrainedModel) -> str:
    config = trained.config
    base = "from scratch" if config.pretrained is None else f"beginning with `{config.pretrained}`"
    return (
        f"{trained.step} steps of {config.batch.rows} rows, {base}, with the Bradley-Terry loss on pairs, seed "
        f"{config.seed}, learning rate {config.optimizer.learning_rate:g}; by rmjax."
    )


def _contract(trained: TrainedModel, record: ScoringRecord | None) -> str:
    contract = trained.contract
    said = (
        f"Prompts keep their last {contract.max_prompt_tokens} tokens (a system turn stays), responses have at most "
        f"{contract.max_response_tokens}. `scoring_contract.json` says the same to programs."
    )
    if record is None:
        return said
    rows = [
        (_shown(entry.prompt), _shown(entry.response), f"{entry.rewards[0]:.6g}") for entry in record.golden[:_SHOWN]
    ]
    spread = (
        f"Over {record.responses} responses of the validation data the rewards have a mean of {record.mean[0]:.4g} and "
        f"a standard deviation of {record.deviation[0]:.4g}."
    )
    golden = _table(("prompt", "response", "reward"), rows)
    return f"{said}\n\n{spread}\n\nA few conversations:\n\n{golden}"


def _shown(text: Any) -> str:
    whole = text if isinstance(text, str) else " / ".join(f"{turn.role}: {turn.content}" for turn in text)
    cut = whole if len(whole) <= 80 else "…" + whole[-79:]
    return "`" + cut.replace("\n", "⏎").replace("|", "¦").replace("`", "'") + "`"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
