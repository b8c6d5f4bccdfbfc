"""The flags of ``python -m rmjax.label`` that say how an AI judge is asked."""

import dataclasses
from typing import Any

from absl import flags

from rmjax.errors import UserError
from rmjax.labeling.job_flags import STORE
from rmjax.labeling.judge.constitution import read_constitution
from rmjax.labeling.judge.settings import JudgeSettings

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(JudgeSettings)}
_OF_JUDGE = {
    "base_url": (flags.DEFINE_string, "The endpoint, as http://127.0.0.1:8000/v1; OpenAI's if not given."),
    "logprobs": (flags.DEFINE_bool, "Whether the probabilities of the answer's token are asked for."),
    "votes": (flags.DEFINE_integer, "How many answers are asked for to each order where no logprobs come."),
    "ties": (flags.DEFINE_bool, "Whether the judge may say that neither response is better."),
    "concurrency": (flags.DEFINE_integer, "The most requests at a time."),
    "tries": (flags.DEFINE_integer, "How often one request is tried before it counts as failed."),
    "nonsense_tries": (flags.DEFINE_integer, "How often a question is asked whose answers are no letter."),
    "timeout_s": (flags.DEFINE_float, "How long a try waits for its answer, in seconds."),
    "max_tokens": (flags.DEFINE_integer, "The most tokens of an answer."),
    "max_tokens_name": (flags.DEFINE_string, "What the endpoint calls that: max_tokens or max_completion_tokens."),
    "price_in": (flags.DEFINE_float, "What a million tokens of prompts cost."),
    "price_out": (flags.DEFINE_float, "What a million tokens of answers cost."),
    "dry_run": (flags.DEFINE_bool, "Whether to estimate the cost alone, and ask nothing."),
}  # fmt: skip

_MODEL = flags.DEFINE_string("model", None, "The judge's model, as the endpoint names it.")
_CONSTITUTION = flags.DEFINE_string("constitution", None, "A file to judge by, not the dimension's own text.")
_SETTINGS: dict[str, flags.FlagHolder[Any]] = {
    name: define(name, _DEFAULTS[name], text) for name, (define, text) in _OF_JUDGE.items()
}
LIMIT = flags.DEFINE_integer(
    "limit", None, "The most pairs that are judged, the first in the order of --pairs; all.", lower_bound=1
)


def judge_settings(*, dimension: str, output: str) -> JudgeSettings:
    """The settings that the flags give; UserError for what can't be."""
    if not _MODEL.value:
        raise UserError("--model is not given; it must name the judge's model, as the endpoint does")
    return JudgeSettings(
        dimension=dimension,
        output=output,
        model=_MODEL.value,
        store=STORE.value,
        constitution=read_constitution(dimension, _CONSTITUTION.value),
        **{name: flag.value for name, flag in _SETTINGS.items()},
    )
