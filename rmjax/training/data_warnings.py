"""What training data may be by mistake, though nothing forbids it: a run says so once and goes on."""

from collections.abc import Sequence

from absl import logging

from rmjax.config import ExperimentConfig
from rmjax.preferences.record import UNNAMED_DIMENSION, PreferenceSet
from rmjax.preferences.repeated import repeated

_SHOWN = 3  # pairs of files


def warn_of_repeated(sets: Sequence[PreferenceSet]) -> None:
    """Says how many comparisons to train on are there again, and in which files; ``sets`` not merged by prompt."""
    found = repeated(sets)
    if not found:
        return
    where = [
        f"{count} of {again}, which is given again" if first == again else f"{count} of {again} are in {first} too"
        for (first, again), count in found.most_common(_SHOWN)
    ]
    more = f" (and those of {len(found) - _SHOWN} more files)" if len(found) > _SHOWN else ""
    logging.warning(
        "config.data.train: %d comparisons count more than once: %s%s; right would be each judgment once, unless these "
        "shall weigh more", found.total(), ", ".join(where), more,
    )  # fmt: skip


def warn_of_dimension(sets: Sequence[PreferenceSet], config: ExperimentConfig) -> None:
    """Says so where ``config.dimension`` is the dimension of no row to train on, for all have another of their own.

    With several reward heads these name what is learned.
    """
    found = sorted({preference.dimension for entry in sets for preference in entry})
    if config.dimension in (UNNAMED_DIMENSION, *found) or config.model.reward_heads:
        return
    logging.warning(
        "config.dimension is %r, and no row to train on is of that dimension: all say their own, which goes before it; "
        "what is learned is %s", config.dimension, ", ".join(found),
    )  # fmt: skip
