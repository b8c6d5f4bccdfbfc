"""From the rewards of single responses to everything that is said of one model on one data set."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int

from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.evaluation import calibration, pairwise, spread
from rmjax.intervals import Estimate, wilson_interval
from rmjax.labeling.rule import characters as characters_of
from rmjax.preferences.record import Preference, Text

RESULTS = "results.jsonl"  # the file of a report that holds a line for each evaluation


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedPairs:
    """The comparisons of a data set, as the statistics need them.

    Attributes:
      left, right: indices into the responses.
      head: which reward head they are read on.
      probability: that the labelers prefer left.
      true_probability: the probability of which that is one draw; NaN where unknown.
      prompts: a number for each distinct prompt; comparisons of one prompt are not independent.
      characters: the length of each response.
      utilities: the true utility of each response; NaN where unknown, and where there are several dimensions, whose
        utilities have no common scale.
    """

    left: Int[np.ndarray, "comparisons"]
    right: Int[np.ndarray, "comparisons"]
    head: Int[np.ndarray, "comparisons"]
    probability: Float64[np.ndarray, "comparisons"]
    true_probability: Float64[np.ndarray, "comparisons"]
    prompts: Int[np.ndarray, "comparisons"]
    characters: Int[np.ndarray, "responses"]
    utilities: Float64[np.ndarray, "responses"]

    def of_head(self, head: int) -> "JudgedPairs":
        """Those that are read on that head."""
        own = self.head == head
        names = ("left", "right", "head", "probability", "true_probability", "prompts")
        return replace(self, **{name: getattr(self, name)[own] for name in names})

    def on_head(self, head: int) -> "JudgedPairs":
        """All of them, read on that head."""
        return replace(self, head=np.full_like(self.head, head))


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What was found of one model on one data set.

    Attributes:
      numbers: the statistics by name, in the order in which they are shown.
      reliability: confidence against correctness.
      correct: the correctness of each decided comparison, for intervals over several models.
      prompts: the prompt of each decided comparison.
      preferred, other: the rewards of the two responses of each decided comparison.
    """

    numbers: dict[str, Any]
    reliability: calibration.Reliability
    correct: Float64[np.ndarray, "decided"]
    prompts: Int[np.ndarray, "decided"]
    preferred: Float64[np.ndarray, "decided"]
    other: Float64[np.ndarray, "decided"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """One model on one data set: a line of the results.

    Attributes:
      model: the workdir as it was given.
      head: the reward head that all comparisons were read on; None where nobody chose one.
      run: which run that held, as ``rmjax.training.portable.run_of`` has it.
      step: the training step that was evaluated; 0 of a model that has none.
      data: the data spec as it was given.
      dimension: what the data set was judged on, which need not be what the model was trained on.
      source: who judged.
      comparisons: how many were evaluated.
      skipped: how many rows, responses and comparisons could not be used.
      measurement: what was found.
      kept: which comparisons were evaluated, as (origin of the record, place in it).
    """

    model: str
    run: str
    step: int
    data: str
    dimension: str
    source: str
    comparisons: int
    skipped: int
    measurement: Measurement
    head: str | None = None
    kept: frozenset[tuple[str, int]] = field(default=frozenset(), repr=False)

    @property
    def label(self) -> str:
        """What a report calls the model: the workdir, and the head if it was chosen."""
        return self.model if self.head is None else f"{self.model.rstrip('/')} [{self.head}]"

    def to_json(self) -> str:
        """The line: one JSON object; a number that doesn't exist (an accuracy of nothing) is null.

        Of a model with several reward heads ``heads`` has the same numbers of each that has comparisons; where one was
        chosen there is ``head`` instead, its name.
        """
        chosen = () if self.head is None else ("head",)
        fields = ("model", *chosen, "run", "step", "data", "dimension", "source", "comparisons", "skipped")
        line = {name: getattr(self, name) for name in fields} | self.measurement.numbers
        return json.dumps({name: _json_number(value) for name, value in line.items()}, ensure_ascii=False)


def in_words(evaluation: Evaluation) -> str:
    """The evaluation as one line for people: the accuracy, what could be reached where that is known, the baseline."""
    numbers = evaluation.measurement.numbers
    said = "accuracy {accuracy:.4f} (95 % interval {accuracy_low:.4f} to {accuracy_high:.4f})".format_map(numbers)
    if best := numbers.get("bayes_accuracy"):
        said += f", {numbers['accuracy'] / best:.1%} of the Bayes-optimal {best:.4f}"
    said += f"; the longer response wins: {numbers['length_baseline_accuracy']:.4f}"
    return f"{evaluation.label} on {evaluation.data}: {said} ({evaluation.comparisons} comparisons)"


def _json_number(value: Any) -> Any:
    if isinstance(value, list):
        return [_json_number(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _json_number(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def judged_pairs(tokenized: TokenizedPreferences, preferences: Sequence[Preference]) -> JudgedPairs:
    """Joins the tokenized comparisons with what only the records know, by the origins that tokenizing kept."""
    origins = tokenized.response_origin.tolist(), tokenized.comparison_origin.tolist()
    return _joined(preferences, *origins, left=tokenized.left, right=tokenized.right, head=tokenized.head)


def whole_pairs(preferences: Sequence[Preference]) -> JudgedPairs:
    """All comparisons of the records, read on the first head, as of whatever gives each response a number.

    The responses are those of the first record in their order, then those of the second, and so on.
    """
    compared = [
        (record, place, comparison.left, comparison.right)
        for record, preference in enumerate(preferences)
        for place, comparison in enumerate(preference.comparisons)
    ]
    responses = [(record, place) for record, entry in enumerate(preferences) for place in range(len(entry.responses))]
    starts = np.cumsum([0, *(len(entry.responses) for entry in preferences)])
    record, place, left, right = np.array(compared, np.int64).reshape(-1, 4).T
    pairs = {"left": starts[record] + left, "right": starts[record] + right, "head": np.zeros_like(record)}
    return _joined(preferences, responses, [*zip(record.tolist(), place.tolist(), strict=True)], **pairs)


def _joined(
    preferences: Sequence[Preference],
    responses: Sequence[Sequence[int]],
    comparisons: Sequence[Sequence[int]],
    **indices: Int[np.ndarray, "comparisons"],
) -> JudgedPairs:
    """The pairs of which ``responses`` and ``comparisons`` say the record and the place in it."""
    numbers: dict[Text, int] = {}
    prompt_of = [numbers.setdefault(preference.prompt, len(numbers)) for preference in preferences]
    one_dimension = len({preference.dimension for preference in preferences}) == 1
    characters, utilities = [], []
    for record, index in responses:
        preference = preferences[record]
        characters.append(characters_of(preference.responses[index]))
        known = preference.utilities if one_dimension else None
        utilities.append(math.nan if known is None else known[index])
    probability, true_probability, prompts = [], [], []
    for record, index in comparisons:
        comparison = preferences[record].comparisons[index]
        probability.append(comparison.probability)
        true_probability.append(math.nan if comparison.true_probability is None else comparison.true_probability)
        prompts.append(prompt_of[record])
    return JudgedPairs(
        **indices,
        probability=np.array(probability, np.float64),
        true_probability=np.array(true_probability, np.float64),
        prompts=np.array(prompts, np.int64),
        characters=np.array(characters, np.int64),
        utilities=np.array(utilities, np.float64),
    )


def measure(
    rewards: Float[np.ndarray, "responses heads"],
    pairs: JudgedPairs,
    members: Float[np.ndarray, "responses heads members"] | None = None,
) -> Measurement:
    """Every statistic of the rewards on the pairs; those that need the truth, only where it is known.

    Of an ensemble, whose members have the rewards ``members``, also the mean spread of a reward and of the difference
    between two, and whether errors are found where that is large. An accuracy by quartiles (of the difference in
    length, of that spread) is left out where a quarter has no pair.
    """
    differences = pairwise.reward_differences(rewards, pairs.left, pairs.right, pairs.head)
    probability = pairs.probability
    kept = pairwise.decided(probability)
    correct, prompts = pairwise.correctness(differences, probability)[kept], pairs.prompts[kept]
    accuracy = wilson_interval(correct, prompts)
    table = calibration.reliability(differences, probability)
    longer = (pairs.characters[pairs.left] - pairs.characters[pairs.right]).astype(np.float64)
    controlled = pairwise.length_controlled_accuracy(differences, probability, longer, pairs.prompts)
    numbers: dict[str, Any] = {
        "decided": int(kept.sum()),
        **_bounded("accuracy", accuracy),
        **_bounded("length_controlled_accuracy", controlled),
        "nll": pairwise.negative_log_likelihood(differences, probability),
        "ece": table.ece,
        "ece_if_calibrated": calibration.ece_if_calibrated(differences, probability),
        "overconfidence": table.overconfidence,
        "length_baseline_accuracy": pairwise.accuracy(longer, probability),
    }
    quarters = pairwise.accuracy_by_quartile(differences, probability, np.abs(longer))
    if not np.isnan(quarters).any():  # as of few pairs, or of lengths that are often equal
        numbers["accuracy_by_length_quartile"] = quarters
    numbers |= {} if members is None else _of_members(members, differences, pairs)
    numbers |= _against_the_truth(rewards, pairs)
    preferred_left = probability[kept] > 0.5
    exact = rewards.astype(np.float64)
    left, right = (exact[side[kept], pairs.head[kept]] for side in (pairs.left, pairs.right))
    return Measurement(
        numbers=numbers,
        reliability=table,
        correct=correct,
        prompts=prompts,
        preferred=np.where(preferred_left, left, right),
        other=np.where(preferred_left, right, left),
    )


def _bounded(name: str, found: Estimate) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def measure_heads(
    rewards: Float[np.ndarray, "responses heads"],
    pairs: JudgedPairs,
    heads: Sequence[str],
    members: Float[np.ndarray, "responses heads members"] | None = None,
) -> Measurement:
    """The same, and of a model with several heads, as ``heads`` in the numbers, those of each that has comparisons."""
    whole = measure(rewards, pairs, members)
    if len(heads) < 2:
        return whole
    own = {head: pairs.of_head(number) for number, head in enumerate(heads)}
    parts = {
        head: {"comparisons": len(part.left), **measure(rewards, part, members).numbers}
        for head, part in own.items()
        if len(part.left)
    }
    return replace(whole, numbers=whole.numbers | {"heads": parts})


def _of_members(
    members: Float[np.ndarray, "responses heads members"],
    differences: Float64[np.ndarray, "comparisons"],
    pairs: JudgedPairs,
) -> dict[str, Any]:
    """What the members of an ensemble say of how sure it is."""
    apart = spread.spread(pairwise.reward_differences(members, pairs.left, pairs.right, pairs.head))
    rewards = np.unique(np.stack([np.append(pairs.left, pairs.right), np.append(pairs.head, pairs.head)]), axis=1)
    numbers: dict[str, Any] = {
        "mean_spread": pairwise.mean(spread.spread(members)[rewards[0], rewards[1]]),
        "mean_difference_spread": pairwise.mean(apart),
    }
    quarters = pairwise.accuracy_by_quartile(differences, pairs.probability, apart)
    return numbers if np.isnan(quarters).any() else numbers | {"accuracy_by_spread_quartile": quarters}


def _against_the_truth(rewards: Float[np.ndarray, "responses heads"], pairs: JudgedPairs) -> dict[str, float]:
    """The statistics that need what only a simulation knows; those that aren't known are left out."""
    numbers = {}
    best = pairwise.bayes_accuracy(pairs.true_probability, pairs.probability)
    if not math.isnan(best):
        numbers["bayes_accuracy"] = best
    compared = np.concatenate([pairs.left, pairs.right])
    if len(compared) and np.isfinite(pairs.utilities[compared]).all():
        head = pairs.head[0]  # of all, as there is one dimension
        numbers["spearman"] = pairwise.spearman(rewards[:, head], pairs.utilities, pairs.left, pairs.right)
    return numbers
