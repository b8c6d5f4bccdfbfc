"""Judgments as columns, matched by the texts that were judged: what statistics of labels are computed from."""

import dataclasses
import hashlib
import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from rmjax.labeling.rule import characters
from rmjax.preferences.record import Comparison, Preference, Side, Source, Text

VERDICTS = ("left", "tie", "right")


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgments:
    """Judgments of one dimension, one a row. Two rows are of one pair where prompt and both responses are equal.

    Which response of a pair is left here is decided by a hash of the texts: it depends neither on how the rows have
    them, which is often the preferred one first, nor on anything that a labeler could see. Whether chance
    agreement is high or low is then no accident of the files.

    Attributes:
      pair, prompt: numbers of the pair of responses and of the prompt.
      left, right: numbers of the responses.
      annotator: an index into ``annotators``; -1 where nobody is named.
      source: an index into ``sources``. The same name under another source is another annotator.
      probability: that left is preferred.
      first: 1 where left was shown first, -1 where right was, 0 where it isn't known.
      seconds: that the judgment took; NaN where it isn't known.
      characters: the lengths of left and right.
      gold: the known answer, an index into ``VERDICTS``; -1 where there is none.
      strength: the labeler's word for it; "" where there is none.
      annotators, sources: the names.
    """

    pair: Int64[np.ndarray, "judgments"]
    prompt: Int64[np.ndarray, "judgments"]
    left: Int64[np.ndarray, "judgments"]
    right: Int64[np.ndarray, "judgments"]
    annotator: Int64[np.ndarray, "judgments"]
    source: Int64[np.ndarray, "judgments"]
    probability: Float64[np.ndarray, "judgments"]
    first: Int64[np.ndarray, "judgments"]
    seconds: Float64[np.ndarray, "judgments"]
    characters: Float64[np.ndarray, "judgments 2"]
    gold: Int64[np.ndarray, "judgments"]
    strength: tuple[str, ...]
    annotators: tuple[str, ...]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pair)

    def where(self, kept: Bool[np.ndarray, "judgments"]) -> "Judgments":
        """The judgments of which ``kept`` is true; numbers and names stay."""
        columns = {
            field.name: getattr(self, field.name)[kept]
            for field in dataclasses.fields(self)
            if field.name not in ("strength", "annotators", "sources")
        }
        return dataclasses.replace(self, **columns, strength=tuple(itertools.compress(self.strength, kept)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Votes:
    """What each annotator says of each pair: a row for an annotator and a pair, however often it was judged.

    Attributes:
      pair, prompt, annotator: as ``Judgments`` has them. Judgments of nobody named are taken for those of different
        people.
      probability: the mean of the annotator's probabilities that left is preferred.
      verdict: an index into ``VERDICTS``: left above 0.5, right below, tie at it.
    """

    pair: Int64[np.ndarray, "votes"]
    prompt: Int64[np.ndarray, "votes"]
    annotator: Int64[np.ndarray, "votes"]
    probability: Float64[np.ndarray, "votes"]
    verdict: Int64[np.ndarray, "votes"]


_Answers = dict[tuple[str, Text, Text, Text], float]  # (dimension, prompt, left, right): that left is preferred


def tabulate(preferences: Iterable[Preference], gold: Iterable[Preference] = ()) -> dict[str, Judgments]:
    """The judgments of each dimension, the dimensions in alphabetical order.

    Numbers are given in order of first appearance, over all dimensions together.

    Args:
      preferences: the judgments.
      gold: the pairs of which the answer is known, with that answer; the mean where it is given more than once. It
        goes before a ``known_answer`` of the judgments' own.
    """
    digests: dict[Text, bytes] = {}
    answers = _answers(gold, digests)
    numbers: defaultdict[str, dict[object, int]] = defaultdict(dict)
    rows: defaultdict[str, list[tuple]] = defaultdict(list)
    for preference in preferences:
        for comparison in preference.comparisons:
            rows[preference.dimension].append(_row(preference, comparison, digests, numbers, answers))
    annotators = tuple(name for _, name in numbers["annotator"])  # pyright: ignore[reportGeneralTypeIssues] pairs
    sources = tuple(source.value for source in numbers["source"] if isinstance(source, Source))
    return {dimension: _columns(rows[dimension], annotators, sources) for dimension in sorted(rows)}


def _answers(gold: Iterable[Preference], digests: dict[Text, bytes]) -> _Answers:
    found: defaultdict[tuple[str, Text, Text, Text], list[float]] = defaultdict(list)
    for preference in gold:
        for comparison in preference.comparisons:
            left, right, sign = _oriented(preference, comparison, digests)
            probability = comparison.probability if sign > 0 else 1 - comparison.probability
            found[preference.dimension, preference.prompt, left, right].append(probability)
    return {key: statistics.fmean(values) for key, values in found.items()}


def _row(
    preference: Preference,
    comparison: Comparison,
    digests: dict[Text, bytes],
    numbers: defaultdict[str, dict[object, int]],
    answers: _Answers,
) -> tuple:
    left, right, sign = _oriented(preference, comparison, digests)
    prompt = _number(numbers["prompt"], preference.prompt)
    places = [_number(numbers["response"], (prompt, text)) for text in (left, right)]
    named = comparison.annotator is not None
    answer = answers.get((preference.dimension, preference.prompt, left, right))
    if answer is None and preference.known_answer is not None:
        answer = float((preference.known_answer is Side.LEFT) == (left == preference.responses[0]))
    return (
        _number(numbers["pair"], tuple(places)),
        prompt,
        *places,
        _number(numbers["annotator"], (preference.source, comparison.annotator)) if named else -1,
        _number(numbers["source"], preference.source),
        comparison.probability if sign > 0 else 1 - comparison.probability,
        sign * {None: 0, Side.LEFT: 1, Side.RIGHT: -1}[comparison.shown_first],
        math.nan if comparison.seconds is None else comparison.seconds,
        (float(characters(left)), float(characters(right))),
        -1 if answer is None else int(verdicts(np.array([answer]))[0]),
        "" if comparison.strength is None else comparison.strength.value,
    )


def _oriented(preference: Preference, comparison: Comparison, digests: dict[Text, bytes]) -> tuple[Text, Text, int]:
    """Left and right here, and 1 where that is as the record has them, -1 where they are exchanged."""
    left, right = (preference.responses[index] for index in (comparison.left, comparison.right))
    return (right, left, -1) if _digest(left, digests) > _digest(right, digests) else (left, right, 1)


def _number(numbers: dict[object, int], key: object) -> int:
    return numbers.setdefault(key, len(numbers))


def _columns(rows: list[tuple], annotators: tuple[str, ...], sources: tuple[str, ...]) -> Judgments:
    pair, prompt, left, right, annotator, source, probability, first, seconds, lengths, gold, strength = zip(
        *rows, strict=True
    )
    return Judgments(
        pair=np.array(pair, np.int64),
        prompt=np.array(prompt, np.int64),
        left=np.array(left, np.int64),
        right=np.array(right, np.int64),
        annotator=np.array(annotator, np.int64),
        source=np.array(source, np.int64),
        probability=np.array(probability, np.float64),
        first=np.array(first, np.int64),
        seconds=np.array(seconds, np.float64),
        characters=np.array(lengths, np.float64),
        gold=np.array(gold, np.int64),
        strength=strength,
        annotators=annotators,
        sources=sources,
    )


def _digest(text: Text, digests: dict[Text, bytes]) -> bytes:
    if text not in digests:
        content = text if isinstance(text, str) else repr([(message.role, message.content) for message in text])
        digests[text] = hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return digests[text]


def verdicts(probability: Float64[np.ndarray, "judgments"]) -> Int64[np.ndarray, "judgments"]:
    """An index into ``VERDICTS`` for each probability that left is preferred."""
    return 1 - np.sign(probability - 0.5).astype(np.int64)


def votes_of(judgments: Judgments) -> Votes:
    """One vote for each annotator and pair."""
    unnamed = judgments.annotator < 0
    who = np.where(unnamed, -1 - np.cumsum(unnamed), judgments.annotator)  # each of the unnamed is somebody else
    keys, places = np.unique(np.stack([judgments.pair, who], axis=1), axis=0, return_inverse=True)
    places = places.reshape(-1)
    count = np.bincount(places, minlength=len(keys))
    probability = np.bincount(places, weights=judgments.probability, minlength=len(keys)) / np.maximum(count, 1)
    prompt = np.zeros(len(keys), np.int64)
    prompt[places] = judgments.prompt
    return Votes(
        pair=keys[:, 0],
        prompt=prompt,
        annotator=np.maximum(keys[:, 1], -1),
        probability=probability,
        verdict=verdicts(probability),
    )


def mean_votes(votes: Votes) -> Votes:
    """One row for each pair: the mean probability of its votes, of no annotator, with the verdict of that mean."""
    pairs, places = np.unique(votes.pair, return_inverse=True)
    probability = np.bincount(places, weights=votes.probability) / np.maximum(np.bincount(places), 1)
    prompt = np.zeros(len(pairs), np.int64)
    prompt[places] = votes.prompt
    nobody = np.full(len(pairs), -1, np.int64)
    return Votes(pair=pairs, prompt=prompt, annotator=nobody, probability=probability, verdict=verdicts(probability))
