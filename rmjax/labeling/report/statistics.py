"""Every statistic of labels, by dimension and source, and of sources against each other: plain values for JSON."""

import itertools
import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float64, Int64

from rmjax.intervals import Estimate, bootstrap, clustered_mean, wilson_interval
from rmjax.labeling.report import agreement, biases, ceiling
from rmjax.labeling.report.biases import Share
from rmjax.labeling.report.judgments import VERDICTS, Judgments, Votes, mean_votes, verdicts, votes_of

MOST_PAIRS = 300  # of annotators that are listed, those with the most in common


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The judgments of one dimension and source, pairs with a known answer left out, and what was found of them."""

    dimension: str
    source: str
    judgments: Judgments
    numbers: dict[str, Any]


def groups_of(tables: dict[str, Judgments], *, samples: int) -> list[Group]:
    """The statistics of each dimension and source.

    Pairs with a known answer are there to check attention, and easy: they count for ``gold`` alone.
    """
    groups = []
    for dimension, table in tables.items():
        for number, source in sorted(enumerate(table.sources), key=lambda entry: entry[1]):
            everything = table.where(table.source == number)
            if not len(everything):
                continue
            judgments = everything.where(everything.gold < 0)
            numbers: dict[str, Any] = {"dimension": dimension, "source": source}
            numbers |= _about(judgments) | {"gold": biases.gold_accuracy(everything)} | _numbers(judgments, samples)
            numbers["annotators"] = [*_annotators(everything)]
            plain = to_plain(numbers)
            groups.append(Group(dimension=dimension, source=source, judgments=judgments, numbers=plain))
    return groups


def _about(judgments: Judgments) -> dict[str, Any]:
    return {
        "judgments": len(judgments),
        "pairs": len(np.unique(judgments.pair)),
        "prompts": len(np.unique(judgments.prompt)),
        "unnamed": int((judgments.annotator < 0).sum()),
        "ties": float(np.mean(judgments.probability == 0.5)) if len(judgments) else math.nan,
        "strength": dict(sorted(Counter(filter(None, judgments.strength)).items())),
    }


def _numbers(judgments: Judgments, samples: int) -> dict[str, Any]:
    votes = votes_of(judgments)
    means = mean_votes(votes)
    pairs, left_out = _annotator_pairs(votes, judgments.annotators, samples)
    return {
        "agreement": _agreement(votes, samples) | {"with_themselves": _repeats(judgments)},
        "annotator_pairs": pairs,
        "annotator_pairs_left_out": left_out,
        "shown_first_preferred": biases.first_preferred(judgments),
        "first_probability": biases.first_probability(judgments),
        "longer_preferred": biases.length_bias(judgments),
        "length_slope": biases.length_slope(judgments),
        "cycles": {
            "within_annotators": biases.cycles(_named(votes), judgments),
            "of_the_mean": biases.cycles(means, judgments),
            "by_chance": biases.CYCLIC_BY_CHANCE,
        },
        "seconds": biases.quantiles(judgments.seconds),
        "ceiling": _ceiling(votes, means, judgments, samples),
    }


def _named(votes: Votes) -> Votes:
    named = votes.annotator >= 0
    return Votes(**{name: getattr(votes, name)[named] for name in Votes.__slots__})


def _agreement(votes: Votes, samples: int) -> dict[str, Any]:
    counts, prompts = agreement.verdict_counts(votes)
    fleiss, nominal = agreement.fleiss_sums(counts), agreement.nominal_sums(counts)
    interval, interval_prompts = agreement.interval_sums(votes)
    return {
        "pairs_judged_by_several": int((counts.sum(axis=1) > 1).sum()),
        "percent": _share(agreement.agreeing(counts), prompts),
        "fleiss_kappa": bootstrap(fleiss, prompts, agreement.fleiss_kappa, samples=samples),
        "krippendorff_nominal": bootstrap(nominal, prompts, agreement.nominal_alpha, samples=samples),
        "krippendorff_interval": bootstrap(interval, interval_prompts, agreement.interval_alpha, samples=samples),
    }


def _share(values: Float64[np.ndarray, "pairs"], prompts: Int64[np.ndarray, "pairs"]) -> Estimate:
    """The mean over the pairs that have a value, with an interval over their prompts."""
    there = ~np.isnan(values)
    return clustered_mean(values[there], prompts[there])


def _repeats(judgments: Judgments) -> dict[str, Any]:
    """How often a named annotator who judged a pair several times, as in both orders, said the same again."""
    named = judgments.where(judgments.annotator >= 0)
    if not len(named):
        return {"pairs": 0, "percent": biases.NOTHING}
    who = np.stack([named.pair, named.annotator], axis=1)
    units, places = np.unique(who, axis=0, return_inverse=True)
    places = places.reshape(-1)
    said = verdicts(named.probability)
    counts = np.bincount(places * 3 + said, minlength=3 * len(units)).reshape(-1, 3).astype(np.int64)
    prompts = np.zeros(len(units), np.int64)
    prompts[places] = named.prompt
    percent = _share(agreement.agreeing(counts), prompts)
    return {"pairs": int((counts.sum(axis=1) > 1).sum()), "percent": percent}


def _annotator_pairs(votes: Votes, names: tuple[str, ...], samples: int) -> tuple[list[dict[str, Any]], int]:
    """Agreement and Cohen's kappa of every two annotators, those with the most pairs in common first."""
    named = [(sorted(names[one] for one in who), *columns) for who, *columns in agreement.common_pairs(votes)]
    found = sorted(named, key=lambda entry: (-len(entry[1]), entry[0]))
    listed = []
    for (one, other), first, second, prompts in found[:MOST_PAIRS]:
        sums = agreement.confusion_sums(first, second)
        listed.append(
            {
                "first": one,
                "second": other,
                "pairs": len(first),
                "percent": clustered_mean(np.equal(first, second).astype(np.float64), prompts),
                "cohen_kappa": bootstrap(sums, prompts, agreement.cohen_kappa, samples=samples),
            }
        )
    return listed, len(found) - len(listed)


def _ceiling(votes: Votes, means: Votes, judgments: Judgments, samples: int) -> dict[str, Any]:
    counts, prompts = agreement.verdict_counts(votes)
    decided = ceiling.decided_agreement(counts)
    numbers: dict[str, Any] = {
        "pairs": int((~np.isnan(decided)).sum()),
        "agreement": (agreed := _share(decided, prompts)),
        "at_most": ceiling.ceiling_at_most(agreed),
    }
    if np.isin(judgments.probability, (0, 0.5, 1)).all():  # no labeler gave a probability; shares of few votes are none
        return numbers | {"soft": biases.NOTHING, "least_nll": biases.NOTHING}
    soft = ceiling.soft_sums(means)
    return numbers | {
        "soft": bootstrap(soft, means.prompt, ceiling.soft_ceiling, samples=samples),
        "least_nll": bootstrap(soft, means.prompt, ceiling.least_nll, samples=samples),
    }


def _annotators(everything: Judgments):
    """What each named annotator does; pairs with a known answer count for ``gold`` alone."""
    judgments = everything.where(everything.gold < 0)
    agreed = _agreement_with_others(votes_of(judgments)) if len(judgments) else {}
    named = np.unique(everything.annotator[everything.annotator >= 0]).tolist()
    for number in sorted(named, key=lambda number: everything.annotators[number]):
        own = judgments.where(judgments.annotator == number)
        yield {
            "name": everything.annotators[number],
            "judgments": len(own),
            "ties": float(np.mean(own.probability == 0.5)) if len(own) else math.nan,
            "agreement_with_others": agreed.get(number, Share(estimate=biases.NOTHING, count=0)),
            "shown_first_preferred": biases.first_preferred(own),
            "longer_preferred": biases.length_bias(own),
            "seconds": biases.quantiles(own.seconds),
            "gold": biases.gold_accuracy(everything.where(everything.annotator == number)),
        }


def _agreement_with_others(votes: Votes) -> dict[int, Share]:
    """How often an annotator and another one of the same pair say the same, over all such others."""
    found: dict[int, list[tuple]] = {}
    for who, first, second, prompts in agreement.common_pairs(votes):
        for one in who:
            found.setdefault(one, []).append((first == second, prompts))
    shares = {}
    for one, parts in found.items():
        same, prompts = (np.concatenate(part) for part in zip(*parts, strict=True))
        shares[one] = Share(estimate=wilson_interval(same.astype(np.float64), prompts), count=len(same))
    return shares


def between_sources(tables: dict[str, Judgments], *, samples: int) -> list[dict[str, Any]]:
    """Every two sources that judged some of the same pairs on one dimension: mean probability against mean."""
    found = []
    for dimension, table in tables.items():
        kept = table.where(table.gold < 0)
        sides = {
            source: mean_votes(votes_of(kept.where(kept.source == number)))
            for number, source in enumerate(kept.sources)
            if (kept.source == number).any()
        }
        for first, second in itertools.combinations(sorted(sides), 2):
            pairs, one, other = np.intersect1d(sides[first].pair, sides[second].pair, return_indices=True)
            if len(pairs):
                about = {"dimension": dimension, "first": first, "second": second, "pairs": len(pairs)}
                found.append(to_plain(about | _compared(sides[first], one, sides[second], other, samples)))
    return found


def _compared(first: Votes, one, second: Votes, other, samples: int) -> dict[str, Any]:
    prompts = first.prompt[one]
    sums = agreement.confusion_sums(first.verdict[one], second.verdict[other])
    x, y = first.probability[one], second.probability[other]
    correlated = agreement.correlation_sums(x, y)
    return {
        "percent": clustered_mean(np.equal(first.verdict[one], second.verdict[other]).astype(np.float64), prompts),
        "cohen_kappa": bootstrap(sums, prompts, agreement.cohen_kappa, samples=samples),
        "pearson": bootstrap(correlated, prompts, agreement.correlation, samples=samples),
        "spearman": _spearman(x, y),
        "verdicts": list(VERDICTS),
        "confusion": sums.sum(axis=0).astype(int).reshape(len(VERDICTS), len(VERDICTS)).tolist(),
    }


def _spearman(x: Float64[np.ndarray, "pairs"], y: Float64[np.ndarray, "pairs"]) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    found = scipy.stats.spearmanr(x, y)
    return float(found.statistic)  # pyright: ignore[reportAttributeAccessIssue] scipy doesn't declare what it returns


def to_plain(value: Any) -> Any:
    """The value as JSON has it: an estimate as {value, low, high}, a share with its count; null for what is NaN."""
    if isinstance(value, Share):
        return to_plain(asdict(value.estimate) | {"count": value.count})
    if isinstance(value, Estimate):
        return to_plain(asdict(value))
    if isinstance(value, dict):
        return {key: to_plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [to_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
