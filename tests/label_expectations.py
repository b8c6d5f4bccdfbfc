"""Every statistic of the report on labels, from judgments as a plain list, by other libraries or its definition."""

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import krippendorff
import numpy as np
import scipy.stats
import statsmodels.api
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix
from statsmodels.stats.inter_rater import fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

from rmjax.intervals import wilson_interval
from rmjax.preferences.record import Source, Strength


@dataclass(frozen=True, slots=True)
class Said:
    """One judgment, seen from the response that the report takes for left."""

    source: Source
    prompt: int
    pair: tuple[str, str]
    who: str | None
    p: float
    first: int
    seconds: float | None
    strength: Strength | None
    known: float | None  # the known answer

    @property
    def verdict(self) -> int:
        return int(1 - np.sign(self.p - 0.5))


def matrix(judged: list[Said]) -> tuple[dict[str | None, int], dict[tuple, int], np.ndarray]:
    """Annotators down and pairs across: the mean of what each says of each, NaN where that is nothing.

    A judgment of nobody named is somebody's: there is one at most of a pair in these data.
    """
    who = {name: row for row, name in enumerate(dict.fromkeys(one.who for one in judged))}
    pairs = {pair: column for column, pair in enumerate(dict.fromkeys(one.pair for one in judged))}
    cells: dict[tuple[int, int], list[float]] = {}
    for one in judged:
        cells.setdefault((who[one.who], pairs[one.pair]), []).append(one.p)
    table = np.full((len(who), len(pairs)), np.nan)
    for place, values in cells.items():
        table[place] = np.mean(values)
    return who, pairs, table


def categories(table: np.ndarray) -> np.ndarray:
    return 1 - np.sign(table - 0.5)


def wilson(values: list[bool], prompts: list[int]) -> dict[str, Any]:
    """The share; of the interval, whose own tests hold it against scipy, that it is over these prompts."""
    found = wilson_interval(np.array(values, float), np.array(prompts, int))
    plain = {name: None if np.isnan(bound) else bound for name, bound in (("low", found.low), ("high", found.high))}
    return plain | {"value": float(np.mean(values)) if values else None, "count": len(values)}


def agreement(judged: list[Said]) -> dict[str, Any]:
    _, _, table = matrix(judged)
    verdicts = categories(table)
    counts = np.stack([(verdicts == verdict).sum(axis=0) for verdict in range(3)], axis=1)
    several = [column[~np.isnan(column)] for column in verdicts.T if (~np.isnan(column)).sum() > 1]
    percent = np.mean([np.mean([a == b for a, b in itertools.combinations(said, 2)]) for said in several])
    if len(set(counts.sum(axis=1))) == 1:
        fleiss = fleiss_kappa(counts)
    else:  # statsmodels wants as many annotators of every pair
        chance = np.square(np.mean(counts / counts.sum(axis=1, keepdims=True), axis=0)).sum()
        fleiss = (percent - chance) / (1 - chance)
    again = [said for said in repeated(judged) if len(said) > 1]
    same = np.mean([np.mean([a == b for a, b in itertools.combinations(said, 2)]) for said in again])
    nominal = krippendorff.alpha(reliability_data=verdicts, level_of_measurement="nominal")
    interval = krippendorff.alpha(reliability_data=table, level_of_measurement="interval")
    return {
        "pairs_judged_by_several": len(several),
        "percent": {"value": percent},
        "fleiss_kappa": {"value": fleiss},
        "krippendorff_nominal": {"value": nominal},
        "krippendorff_interval": {"value": interval},
        "with_themselves": {"pairs": len(again), "percent": {"value": same}},
    }


def repeated(judged: list[Said]) -> list[list[int]]:
    """What each named annotator said of each pair."""
    found: dict[tuple, list[int]] = {}
    for one in judged:
        if one.who is not None:
            found.setdefault((one.who, one.pair), []).append(one.verdict)
    return list(found.values())


def common(judged: list[Said]) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray, list[int]]]:
    """Both verdicts and the prompt of each pair that two named annotators have in common."""
    who, pairs, table = matrix(judged)
    prompts = [next(one.prompt for one in judged if one.pair == pair) for pair in pairs]
    found = {}
    for one, other in itertools.combinations(sorted(name for name in who if name is not None), 2):
        rows = categories(table[[who[one], who[other]]])
        both = ~np.isnan(rows).any(axis=0)
        found[one, other] = (*rows[:, both].astype(int), list(itertools.compress(prompts, both)))
    return found


def annotator_pairs(judged: list[Said]) -> list[dict[str, Any]]:
    listed = [
        {
            "first": one, "second": other, "pairs": len(mine),
            "percent": {"value": accuracy_score(mine, theirs)},
            "cohen_kappa": {"value": cohen_kappa_score(mine, theirs)},
        }
        for (one, other), (mine, theirs, _) in common(judged).items()
    ]  # fmt: skip
    return sorted(listed, key=lambda entry: (-entry["pairs"], entry["first"], entry["second"]))


def shares(judged: list[Said]) -> dict[str, Any]:
    """How often the first shown and the longer are preferred."""
    first = [one for one in judged if one.first and one.p != 0.5]
    longer = [one for one in judged if len(one.pair[0]) != len(one.pair[1]) and one.p != 0.5]
    return {
        "shown_first_preferred": wilson(
            [(one.p > 0.5) == (one.first > 0) for one in first], [one.prompt for one in first]
        ),
        "longer_preferred": wilson(
            [(one.p > 0.5) == (len(one.pair[0]) > len(one.pair[1])) for one in longer], [one.prompt for one in longer]
        ),
    }


def biases(judged: list[Said]) -> dict[str, Any]:
    shown = [one for one in judged if one.first]
    given = np.array([one.p if one.first > 0 else 1 - one.p for one in shown])
    robust: dict[str, Any] = {"cov_type": "cluster", "cov_kwds": {"groups": np.array([one.prompt for one in shown])}}
    mean = statsmodels.api.OLS(given, np.ones(len(given))).fit(**robust, use_t=True)
    ratio = np.array([[np.log1p(len(one.pair[0])) - np.log1p(len(one.pair[1]))] for one in judged])
    family = statsmodels.api.families.Binomial()
    robust["cov_kwds"] = {"groups": np.array([one.prompt for one in judged])}
    slope = statsmodels.api.GLM(np.array([one.p for one in judged]), ratio, family=family).fit(**robust, tol=1e-14)
    estimates = [dict(zip(("low", "high"), fit.conf_int()[0], strict=True)) for fit in (mean, slope)]
    return shares(judged) | {
        "first_probability": estimates[0] | {"value": mean.params[0], "count": len(given)},
        "length_slope": estimates[1] | {"value": slope.params[0]},
    }


def cycles(table: np.ndarray, pairs: dict[tuple, int], prompts: dict[str, int]) -> dict[str, Any]:
    """Of every annotator (row) the triples of responses to one prompt whose pairs are decided, and which are cycles."""
    values, of = [], []
    for row, prompt in itertools.product(table, set(prompts.values())):
        above = {
            (pair if row[column] > 0.5 else pair[::-1])
            for pair, column in pairs.items()
            if prompts[pair[0]] == prompt and not np.isnan(row[column]) and row[column] != 0.5
        }
        for three in itertools.combinations({text for pair in above for text in pair}, 3):
            inside = [edge for edge in above if set(edge) <= set(three)]
            if len(inside) == 3:
                values.append(len({better for better, _ in inside}) == 3)
                of.append(prompt)
    return wilson(values, of)


def ceiling(judged: list[Said]) -> dict[str, Any]:
    _, _, table = matrix(judged)
    decided = [column[~np.isnan(column) & (column != 0.5)] > 0.5 for column in table.T]
    pairs = [np.mean([a == b for a, b in itertools.combinations(said, 2)]) for said in decided if len(said) > 1]
    q = np.mean(pairs)
    found = {
        "pairs": len(pairs),
        "agreement": {"value": q},
        "at_most": {"value": (1 + np.sqrt(max(2 * q - 1, 0))) / 2},
    }
    if judged[0].source is Source.HUMAN:
        return found | {key: {"value": None, "low": None, "high": None} for key in ("soft", "least_nll")}
    p = np.nanmean(table, axis=0)
    return found | {
        "soft": {"value": np.maximum(p, 1 - p).mean()},
        "least_nll": {"value": scipy.stats.entropy(np.stack([p, 1 - p])).mean()},
    }


def gold(judged: list[Said]) -> dict[str, Any]:
    known = [np.sign(one.p - 0.5) == np.sign(one.known - 0.5) for one in judged if one.known is not None]
    low, high = proportion_confint(sum(known), len(known), method="beta")
    return {"value": np.mean(known), "low": low, "high": high, "count": len(known)}


def seconds(judged: list[Said]) -> dict[str, Any]:
    known = np.array([one.seconds for one in judged if one.seconds is not None])
    found = scipy.stats.mstats.mquantiles(known, [0.1, 0.25, 0.5, 0.75, 0.9], 1, 1)
    return {"count": len(known)} | dict(zip(("p10", "p25", "median", "p75", "p90"), found, strict=True))


def annotators(everything: list[Said]) -> list[dict[str, Any]]:
    judged = [one for one in everything if one.known is None]
    found = []
    for name in sorted({one.who for one in judged if one.who is not None}):
        own = [one for one in judged if one.who == name]
        others = [entry for who, entry in common(judged).items() if name in who]
        same = [bool(a == b) for mine, theirs, _ in others for a, b in zip(mine, theirs, strict=True)]
        found.append(
            {
                "name": name, "judgments": len(own), "ties": np.mean([one.p == 0.5 for one in own]),
                "agreement_with_others": wilson(same, [prompt for *_, prompts in others for prompt in prompts]),
                "seconds": seconds(own), "gold": gold([one for one in everything if one.who == name]),
            }
            | shares(own)
        )  # fmt: skip
    return found


def numbers(everything: list[Said]) -> dict[str, Any]:
    """What the report should say of the judgments of one source."""
    judged = [one for one in everything if one.known is None]
    _, pairs, table = matrix(judged)
    who, _, _ = matrix(judged)
    named = table[[row for name, row in who.items() if name is not None]]
    prompts = {text: one.prompt for one in judged for text in one.pair}
    return biases(judged) | {
        "dimension": "helpfulness", "source": judged[0].source.value, "judgments": len(judged), "pairs": len(pairs),
        "prompts": len({one.prompt for one in judged}), "unnamed": sum(one.who is None for one in judged),
        "ties": np.mean([one.p == 0.5 for one in judged]),
        "strength": Counter(one.strength.value for one in judged if one.strength is not None),
        "agreement": agreement(judged), "annotator_pairs": annotator_pairs(judged), "annotator_pairs_left_out": 0,
        "cycles": {
            "within_annotators": cycles(named, pairs, prompts),
            "of_the_mean": cycles(np.nanmean(table, axis=0, keepdims=True), pairs, prompts), "by_chance": 0.25,
        },
        "seconds": seconds(judged), "ceiling": ceiling(judged), "gold": gold(everything),
        "annotators": annotators(everything),
    }  # fmt: skip


def between(people: list[Said], judges: list[Said]) -> dict[str, Any]:
    (_, pairs, one), (_, others, other) = (
        matrix([said for said in side if said.known is None]) for side in (judges, people)
    )
    x, y = np.array(
        [[np.nanmean(one[:, pairs[pair]]), np.nanmean(other[:, others[pair]])] for pair in pairs.keys() & others.keys()]
    ).T
    first, second = (categories(side).astype(int) for side in (x, y))
    return {
        "dimension": "helpfulness", "first": "ai", "second": "human", "pairs": len(x),
        "percent": {"value": accuracy_score(first, second)},
        "cohen_kappa": {"value": cohen_kappa_score(first, second)},
        "pearson": {"value": scipy.stats.pearsonr(x, y).statistic}, "spearman": scipy.stats.spearmanr(x, y).statistic,
        "verdicts": ["left", "tie", "right"], "confusion": confusion_matrix(first, second, labels=[0, 1, 2]).tolist(),
    }  # fmt: skip
