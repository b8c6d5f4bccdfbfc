"""Exports a trained reward model in Hugging Face's format: ``python -m rmjax.export --workdir=DIR --output=FOLDER``.

The folder holds a ``…ForSequenceClassification`` with one label in safetensors, the tokenizer and its chat template, a
scoring contract with golden scores, and a model card. Contract and card show conversations of the validation data,
unless ``--golden=neutral`` puts built-in ones in their place, or ``--golden=FILE`` those of rows as ``rmjax.score``
takes them. A plain text to score ends in the tokenizer's end token; messages are rendered by the chat template.

``--adapter_on=BASE`` writes the adapters and the reward head of a run with LoRA instead, in float32 and in PEFT's
format, for that base.
"""

from absl import flags

from rmjax.command import run
from rmjax.errors import UserError
from rmjax.scoring.export import export
from rmjax.scoring.export_adapter import export_adapter
from rmjax.training.machine import use_machine

_WORKDIR = flags.DEFINE_string("workdir", None, "The workdir of the run.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "The folder that is made; it must not exist.", required=True)
_STEP = flags.DEFINE_integer("step", None, "The checkpoint; the best by config.best_by if not given.")
_HEAD = flags.DEFINE_string("head", None, "The reward head, of a model that has several.")
_REPORT = flags.DEFINE_string(
    "report", None, "A report of rmjax.evaluate on this run at this step, for the model card."
)
_LICENSE = flags.DEFINE_string("license", None, "Of the model, for its card (an identifier such as apache-2.0).")
_GOLDEN = flags.DEFINE_string("golden", None, "Conversations to keep scores of: neutral, or a file of rows.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of the weights.")
_ADAPTER_ON = flags.DEFINE_string("adapter_on", None, "The base that a PEFT adapter is written for: name or folder.")
_OF_WHOLE = (_REPORT, _LICENSE, _GOLDEN, _DTYPE)


def main() -> None:
    if _ADAPTER_ON.value is not None and (given := [flag.name for flag in _OF_WHOLE if flag.present]):
        raise UserError(f"--{given[0]} is given with --adapter_on; an adapter is written without it")
    use_machine()
    if _ADAPTER_ON.value is not None:
        print(export_adapter(_WORKDIR.value, _OUTPUT.value, base=_ADAPTER_ON.value, step=_STEP.value, head=_HEAD.value))
        return
    folder = export(
        _WORKDIR.value, _OUTPUT.value, step=_STEP.value, head=_HEAD.value, dtype=_DTYPE.value, report=_REPORT.value,
        license=_LICENSE.value, golden=_GOLDEN.value,
    )  # fmt: skip
    print(folder)


if __name__ == "__main__":
    run(main)
