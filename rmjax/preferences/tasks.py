"""Rows of responses that nobody has compared yet, beside the forms that hold judgments."""

import itertools
import os

from rmjax.config import OnError
from rmjax.preferences.fields import Fields
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Preference, PreferenceSet
from rmjax.preferences.row_forms import ROW_FORMS, RowForm, parse_comparisons


def read_tasks(
    path: str | os.PathLike[str], *, defaults: RowDefaults, on_error: OnError = OnError.DEFAULT
) -> PreferenceSet:
    """As ``read_preferences``, and rows of ``{"prompt": …, "responses": […]}`` are read too, as pairs to be judged."""
    return read_preferences(path, defaults=defaults, on_error=on_error, forms=TASK_FORMS)


def parse_unjudged(fields: Fields, defaults: RowDefaults) -> Preference:
    """Responses to one prompt, of which every two are to be compared.

        {"prompt": "Name a prime.", "responses": [" 7", " 9", " Eleven."]}

    The comparisons of the K(K-1)/2 pairs say nothing yet: each has probability 0.5, and weight 1/(K(K-1)/2), so that no
    prompt counts more than another.
    """
    right = "a list of at least 2 responses"
    responses = fields.sequence("responses", right=right)
    if len(responses) < 2:
        raise fields.error("responses", "too few responses", found=f"{len(responses)} of them", right=right)
    pairs = list(itertools.combinations(range(len(responses)), 2))
    comparisons = [
        {"left": left, "right": right, "probability": 0.5, "weight": 1 / len(pairs)} for left, right in pairs
    ]
    row = {**fields.values, "comparisons": comparisons}
    return parse_comparisons(Fields(row, fields.origin), defaults)


def _is_unjudged(fields: Fields) -> bool:
    return fields.has("responses") and not fields.has("comparisons") and not fields.has("ranking")


TASK_FORMS: tuple[RowForm, ...] = (RowForm("{prompt, responses}", _is_unjudged, parse_unjudged), *ROW_FORMS)
