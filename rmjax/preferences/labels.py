"""What labels become before they are learned from: margins, weights, agreement, one judgment in place of several.

Pure functions from preferences to preferences. ``learned_from`` applies those that a config asks for.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from rmjax.errors import ConfigError, UserError
from rmjax.labels_config import LabelsConfig, Several, margins_of, numbers_of
from rmjax.preferences.merge import merge_prompts
from rmjax.preferences.record import Comparison, Preference, Strength

Change = Callable[[Preference, Comparison], Comparison | None]


def learned_from(preferences: Iterable[Preference], labels: LabelsConfig) -> tuple[Preference, ...]:
    """The preferences as the config has them learned from; those that lose all their comparisons are left out.

    Args:
      preferences: over all sets, so that all judgments of a pair meet.
      labels: a valid config; what it asks for is done in the order that its docstring says.
    """
    found = tuple(preferences)
    if labels.margins:
        found = with_margins(found, {Strength(word): margin for word, margin in margins_of(labels).items()})
    if labels.annotator_weights or labels.source_weights:
        annotators, sources = (numbers_of(entries) for entries in (labels.annotator_weights, labels.source_weights))
        found = weighted(found, annotators, sources)
    if labels.least_agreement > 0:
        found = agreed_on(found, labels.least_agreement)
    if labels.several is not Several.KEPT:
        found = as_one(found, labels.several, count_judgments=labels.count_judgments)
    return found


def check_labels(preferences: Iterable[Preference]) -> None:
    """UserError at the first judgment of a pair whose answer was known: it says who paid attention, and nothing else.

    No setting skips such rows: they are good ones, of a file that is at the wrong place.
    """
    for preference in preferences:
        if preference.known_answer is not None:
            raise UserError(
                f"{preference.origin}: field 'known_answer': found {preference.known_answer.value!r}, so it checked "
                "somebody's attention; right would be data without such rows: NAME.gold.jsonl is for python -m "
                "rmjax.label --report alone"
            )


def check_annotators(preferences: Iterable[Preference], labels: LabelsConfig) -> None:
    """ConfigError for a weight of an annotator who judged nothing: most likely the name is misspelt."""
    if not labels.annotator_weights:
        return
    named = {comparison.annotator for preference in preferences for comparison in preference.comparisons} - {None}
    for name in numbers_of(labels.annotator_weights):
        if name not in named:
            there = ", ".join(sorted(map(repr, named))) or "none, for no judgment says by whom it is"
            raise ConfigError(
                f"config.labels.annotator_weights names {name!r}, who judged nothing; right would be one of the "
                f"annotators of the data: {there}"
            )


def with_margins(preferences: Iterable[Preference], margins: Mapping[Strength, float]) -> tuple[Preference, ...]:
    """Each judgment's margin is that of its strength, towards the preferred response.

    As in equation 2 of Touvron et al. (2023). A tie has none, and a judgment that has a margin of its own keeps it.
    """

    def change(_: Preference, old: Comparison) -> Comparison:
        if old.strength is None or old.margin != 0 or old.probability == 0.5:
            return old
        return dataclasses.replace(old, margin=math.copysign(margins[old.strength], old.probability - 0.5))

    return _changed(preferences, change)


def weighted(
    preferences: Iterable[Preference], annotators: Mapping[str, float], sources: Mapping[str, float]
) -> tuple[Preference, ...]:
    """Each judgment's weight times that of its annotator and that of its source; those of weight 0 are left out.

    Args:
      preferences: any.
      annotators, sources: weights by name; 1 for all others.
    """

    def change(preference: Preference, old: Comparison) -> Comparison | None:
        factor = sources.get(preference.source.value, 1.0)
        if old.annotator is not None:
            factor *= annotators.get(old.annotator, 1.0)
        return dataclasses.replace(old, weight=old.weight * factor) if factor > 0 else None

    return _changed(preferences, change)


def _changed(preferences: Iterable[Preference], change: Change) -> tuple[Preference, ...]:
    """Every comparison as ``change`` has it; None leaves it out."""
    found = []
    for preference in preferences:
        changed = (change(preference, old) for old in preference.comparisons)
        comparisons = tuple(new for new in changed if new is not None)
        if comparisons:
            found.append(dataclasses.replace(preference, comparisons=comparisons))
    return tuple(found)


def agreed_on(preferences: Iterable[Preference], least: float) -> tuple[Preference, ...]:
    """Pairs of which at least this share of the judgments says the same (left, right or tie), whatever they weigh.

    Judgments of one source meet over all rows of a prompt (``merge_prompts``). A pair that was judged once agrees with
    itself and stays.
    """
    found = []
    for preference in merge_prompts(preferences):
        kept = [pair for pair in _by_pair(preference).values() if agreement(pair) >= least]
        if kept:
            places = {id(comparison) for pair in kept for comparison in pair}
            comparisons = tuple(entry for entry in preference.comparisons if id(entry) in places)
            found.append(dataclasses.replace(preference, comparisons=comparisons))
    return tuple(found)


def agreement(judgments: Sequence[Comparison]) -> float:
    """The largest share of the judgments of one pair that says the same."""
    towards = judgments[0].left
    said = Counter(_sign(_facing(judgment, towards).probability) for judgment in judgments)
    return max(said.values()) / len(judgments)


def as_one(preferences: Iterable[Preference], several: Several, *, count_judgments: bool) -> tuple[Preference, ...]:
    """One comparison for each pair, by the rule; a pair that was judged once keeps its comparison as it is.

    Judgments of one source meet over all rows of a prompt (``merge_prompts``). The comparison has the left and right
    of the first judgment. By MEAN it has the mean probability and the mean margin, by weight; without margins, its loss
    has the gradient of the judgments that it stands for where the weights are added. By MAJORITY it has the
    probability 1, 0 or, where both sides have the same weight, 0.5, and the mean margin of the winning side. Who
    judged, how strongly and how fast is not said of it.

    Args:
      preferences: any.
      several: MAJORITY or MEAN.
      count_judgments: whether its weight is the sum of theirs, or else their mean.
    """
    found = []
    for preference in merge_prompts(preferences):
        pairs = _by_pair(preference).values()
        comparisons = tuple(_one(pair, several, count_judgments=count_judgments) for pair in pairs)
        found.append(dataclasses.replace(preference, comparisons=comparisons))
    return tuple(found)


def _one(judgments: Sequence[Comparison], several: Several, *, count_judgments: bool) -> Comparison:
    first = judgments[0]
    if len(judgments) == 1:
        return first
    facing = [_facing(judgment, first.left) for judgment in judgments]
    weight = math.fsum(judgment.weight for judgment in facing)
    probability, margin = _mean(facing) if several is Several.MEAN else _majority(facing)
    return Comparison(
        left=first.left,
        right=first.right,
        probability=probability,
        margin=margin,
        weight=weight if count_judgments else weight / len(facing),
    )


def _mean(judgments: Sequence[Comparison]) -> tuple[float, float]:
    """Probability and margin, by weight."""
    weight = math.fsum(judgment.weight for judgment in judgments)
    probability = math.fsum(judgment.weight * judgment.probability for judgment in judgments) / weight
    margin = math.fsum(judgment.weight * judgment.margin for judgment in judgments) / weight
    return min(1.0, probability), margin


def _majority(judgments: Sequence[Comparison]) -> tuple[float, float]:
    """The probability that says which side has more weight, and the mean margin of those on that side."""
    lead = math.fsum(_sign(judgment.probability) * judgment.weight for judgment in judgments)
    total = math.fsum(judgment.weight for judgment in judgments)
    if abs(lead) <= 1e-12 * total:  # but for rounding, as of weights of 1/3
        return 0.5, 0.0
    side = 1 if lead > 0 else -1
    winning = [judgment for judgment in judgments if _sign(judgment.probability) == side]
    return (1.0 if lead > 0 else 0.0), _mean(winning)[1]


def _by_pair(preference: Preference) -> dict[frozenset[int], list[Comparison]]:
    """The comparisons of each pair of responses, in order of first appearance."""
    pairs: dict[frozenset[int], list[Comparison]] = {}
    for comparison in preference.comparisons:
        pairs.setdefault(frozenset((comparison.left, comparison.right)), []).append(comparison)
    return pairs


def _facing(judgment: Comparison, left: int) -> Comparison:
    """The judgment with that response on the left; of the rest, what depends on sides is not looked at here."""
    if judgment.left == left:
        return judgment
    return dataclasses.replace(
        judgment,
        left=judgment.right,
        right=judgment.left,
        probability=1 - judgment.probability,
        margin=-judgment.margin,
    )


def _sign(probability: float) -> int:
    return (probability > 0.5) - (probability < 0.5)
