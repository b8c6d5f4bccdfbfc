"""What training makes of labels, as a part of the config of an experiment (``rmjax.config``)."""

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

STRENGTHS = ("slightly", "clearly", "much")  # the words of rmjax.preferences.record.Strength
SOURCES = ("human", "ai", "rule", "simulated")  # and of its Source

# Llama 2's two tables (Touvron et al., 2023, arXiv 2307.09288, Table 27), of slightly better, better and significantly
# better. Its fourth rating, negligibly better or unsure, has margin 0 in both, as ties have here.
MARGINS: dict[str, dict[str, float]] = {
    "llama2_small": dict(zip(STRENGTHS, (1 / 3, 2 / 3, 1.0), strict=True)),
    "llama2_large": dict(zip(STRENGTHS, (1.0, 2.0, 3.0), strict=True)),
}


class Several(enum.Enum):
    """What becomes of several judgments of one pair by one source."""

    KEPT = "kept"  # each is a comparison of its own
    MAJORITY = "majority"  # one comparison: the response that more of the weight prefers; a tie where both have as much
    MEAN = "mean"  # one comparison, with the mean of the probabilities by weight


@dataclass(kw_only=True, slots=True)
class LabelsConfig:
    """What the labels that are trained on become first; by default they stay as they are, as those validated on do.

    Margins come first, then weights, then the least agreement, then several judgments of a pair become one. The last
    two see the judgments of one source together, over all rows of a prompt, which become one group for it.
    """

    # Of each strength, in units of reward: the name of a table (llama2_small, llama2_large), or slightly=A, clearly=B
    # and much=C. Ties, judgments without a strength and those with a margin of their own stay as they are.
    margins: tuple[str, ...] = ()
    annotator_weights: tuple[str, ...] = ()  # NAME=WEIGHT, by which theirs is multiplied; 0 leaves their judgments out
    source_weights: tuple[str, ...] = ()  # human=, ai=, rule=, simulated=, likewise
    least_agreement: float = 0.0  # the share of a pair's judgments that say the same; pairs below it are left out
    several: Several = Several.KEPT
    count_judgments: bool = True  # of several that become one, the weights are added; false: their mean is taken


def margins_of(labels: LabelsConfig) -> Mapping[str, float]:
    """The margin of each strength; empty where none is given."""
    if _is_table(labels.margins):
        return MARGINS[labels.margins[0]]
    return numbers_of(labels.margins)


def numbers_of(entries: tuple[str, ...]) -> dict[str, float]:
    """The numbers of entries NAME=NUMBER, by name; ValueError where one is of another form or a name comes twice."""
    found: dict[str, float] = {}
    for entry in entries:
        name, equals, number = entry.rpartition("=")
        if not equals or not name or name in found:
            raise ValueError(entry)
        found[name] = float(number)
    return found


def checks_of_labels(labels: LabelsConfig) -> Iterator[tuple[str, bool, str]]:
    """Of each field its name in the config, whether it can be right, and what would be."""
    words = ", ".join(f"{name}=NUMBER" for name in STRENGTHS)
    right = f"empty, the name of a table ({', '.join(MARGINS)}) or {words}, with finite numbers of at least 0"
    yield "labels.margins", _are_numbers(labels.margins, STRENGTHS, every=True) or _is_table(labels.margins), right
    each = "each name once, with finite weights of at least 0"
    yield "labels.annotator_weights", _are_numbers(labels.annotator_weights), f"entries ANNOTATOR=WEIGHT, {each}"
    right = f"entries SOURCE=WEIGHT of {', '.join(SOURCES)}, {each}"
    yield "labels.source_weights", _are_numbers(labels.source_weights, SOURCES), right
    yield "labels.least_agreement", 0 <= labels.least_agreement <= 1, "in [0, 1]"
    used = labels.count_judgments or labels.several is not Several.KEPT
    yield "labels.count_judgments", used, "true, as labels.several is 'kept'"


def _is_table(entries: tuple[str, ...]) -> bool:
    return len(entries) == 1 and entries[0] in MARGINS


def _are_numbers(entries: tuple[str, ...], known: tuple[str, ...] | None = None, *, every: bool = False) -> bool:
    try:
        found = numbers_of(entries)
    except ValueError:
        return False
    names = known is None or (set(found) == set(known) if every and found else set(found) <= set(known))
    return names and all(0 <= number < math.inf for number in found.values())
