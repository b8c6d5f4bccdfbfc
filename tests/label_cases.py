"""Judgments for tests: random ones, as arrays and as records."""

import dataclasses
import pathlib

import numpy as np

from rmjax.labeling.report.judgments import Judgments, Votes, verdicts
from rmjax.preferences.record import Comparison, Preference, Side, Source
from rmjax.preferences.write import write_preferences

TIME = "2026-01-31T09:30:00.000+00:00"


def votes(probability: np.ndarray, prompts: np.ndarray | None = None) -> Votes:
    """Votes of a matrix (annotators down, pairs across) of probabilities that left is preferred; NaN is no vote."""
    annotator, pair = np.nonzero(~np.isnan(probability))
    prompts = np.arange(probability.shape[1]) if prompts is None else prompts
    said = probability[annotator, pair]
    return Votes(pair=pair, prompt=prompts[pair], annotator=annotator, probability=said, verdict=verdicts(said))


def random_matrix(
    seed: int, annotators: int = 4, pairs: int = 60, missing: float = 0.3, soft: bool = False
) -> np.ndarray:
    """Annotators who agree more than chance, ties among their judgments, some pairs of which nobody says anything."""
    rng = np.random.default_rng(seed)
    true = rng.random(pairs)
    said = np.where(rng.random((annotators, pairs)) < true, 1.0, 0.0)
    if soft:
        said = np.clip(said * 0.6 + rng.random(said.shape) * 0.4, 0, 1)
    said[rng.random(said.shape) < 0.15] = 0.5
    said[rng.random(said.shape) < missing] = np.nan
    return said


def judgments(seed: int, count: int = 400, prompts: int = 120, soft: bool = False) -> Judgments:
    """Judgments that lean towards the first shown and the longer response."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 300, size=(count, 2)).astype(float)
    first = rng.choice([-1, 0, 1], size=count)
    chance = 1 / (1 + np.exp(-0.4 * np.log((1 + lengths[:, 0]) / (1 + lengths[:, 1])) - 0.5 * first))
    said = chance if soft else (rng.random(count) < chance).astype(float)
    said = np.where(rng.random(count) < 0.1, 0.5, said)
    return Judgments(
        pair=np.arange(count),
        prompt=rng.integers(0, prompts, size=count),
        left=2 * np.arange(count),
        right=2 * np.arange(count) + 1,
        annotator=rng.integers(-1, 3, size=count),
        source=np.zeros(count, np.int64),
        probability=said,
        first=first,
        seconds=np.where(rng.random(count) < 0.2, np.nan, rng.exponential(20, size=count)),
        characters=lengths,
        gold=np.full(count, -1),
        strength=("",) * count,
        annotators=("ann", "ben", "cem"),
        sources=("human",),
    )


def record(
    prompt: str, *judged: tuple[str, str, float, str | None], source: Source = Source.HUMAN, **fields
) -> Preference:
    """One prompt and comparisons (left text, right text, probability, annotator), each of them with ``fields``."""
    responses = tuple(dict.fromkeys(text for left, right, *_ in judged for text in (left, right)))
    comparisons = tuple(
        Comparison(
            left=responses.index(left), right=responses.index(right), probability=probability, annotator=name, **fields
        )
        for left, right, probability, name in judged
    )
    return Preference(
        prompt=prompt, responses=responses, comparisons=comparisons, dimension="helpfulness", source=source
    )


def judged(name: str = "mia", second: int = 0, first: Side | None = Side.LEFT, **fields) -> Preference:
    """That the first of two responses is better, said by somebody at a time and in an order."""
    fields = {"shown_first": first, "judged_at": TIME.replace("00.000", f"{second:02}.000"), **fields}
    return record("p", ("a", "b", 1.0, name), **fields)


def write_people(folder: pathlib.Path) -> pathlib.Path:
    """Two annotators, one of whom judged the pair twice: all different judgments."""
    file = folder / "people.jsonl"
    write_preferences(file, [judged(), judged(second=1), judged("ben")])
    return file


def write_judge(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """An AI judge's labels and its orders, of two equal tasks that one answer stands at."""
    orders = tuple(
        Comparison(left=0, right=1, weight=0.5, annotator="judge", judged_at=TIME, shown_first=side) for side in Side
    )
    mean = (Comparison(left=0, right=1, annotator="judge", judged_at=TIME),)
    files = folder / "judged.jsonl", folder / "judged.orders.jsonl"
    for file, comparisons in zip(files, (mean, orders), strict=True):
        one = Preference(prompt="p", responses=("a", "b"), comparisons=comparisons, dimension="wit", source=Source.AI)
        write_preferences(file, [one, one])
    return files


def older(one: Preference) -> Preference:
    """A judgment that left is better, with left and right exchanged, as another export may have it."""
    (old,) = one.comparisons
    said = dataclasses.replace(old, left=1, right=0, probability=0.0, shown_first=Side.RIGHT)
    return dataclasses.replace(one, comparisons=(said,))


def mirrored(preference: Preference) -> Preference:
    """The same judgments with left and right, and the order of the responses, exchanged."""
    last = len(preference.responses) - 1
    other = {None: None, Side.LEFT: Side.RIGHT, Side.RIGHT: Side.LEFT}
    comparisons = tuple(
        Comparison(
            left=last - old.right,
            right=last - old.left,
            probability=1 - old.probability,
            annotator=old.annotator,
            shown_first=other[old.shown_first],
            seconds=old.seconds,
        )
        for old in reversed(preference.comparisons)
    )
    return Preference(
        prompt=preference.prompt,
        responses=preference.responses[::-1],
        comparisons=comparisons,
        dimension=preference.dimension,
        source=preference.source,
    )
