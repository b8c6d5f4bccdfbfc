"""What the labels say, as JSON and as a page: what ``python -m rmjax.label --report`` writes.

The report is a part of labeling, which comes before data sets: it is given opened preferences.
"""

import html
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from etils import epath

from rmjax.errors import UserError
from rmjax.labeling.report import plots
from rmjax.labeling.report.given_twice import given_once
from rmjax.labeling.report.judgments import tabulate
from rmjax.labeling.report.statistics import Group, between_sources, groups_of
from rmjax.preferences.record import PreferenceSet, Text
from rmjax.report_page import number, page, picture_section, table, write_together

NUMBERS = "labels.json"
SAMPLES = 2000  # how often prompts are redrawn for an interval

_JUDGMENTS = (
    "Judgments of pairs with a known answer (gold) count in the last column and nowhere else. Ties are a share of the "
    "judgments. A dash stands where no judgment tells."
)
_ANNOTATORS = (
    "Agrees with others: how often another annotator of the same pair says the same. As above, pairs with a known "
    "answer count for gold alone."
)
_CEILING = (
    "q is how often two annotators of a pair, ties left out, prefer the same response. If each of them prefers it with "
    "one probability, independently, then a model's accuracy on one annotator's labels is at most (1 + √(2q − 1)) / 2, "
    "reached where all pairs are equally hard; who knows every probability reaches at least q. Of labels that are "
    "probabilities p the ceiling is the mean of max(p, 1 − p), if they are calibrated."
)
_AGREEMENT = (
    "Over pairs that several annotators judged: how often two of them say the same (left, tie, right), and how far "
    "that is above chance: 0 is chance, 1 always. Alpha of intervals reads the probabilities. An annotator who judged "
    "a pair several times has the mean as one vote; how often that was the same again stands last. Small numbers are "
    "95 % intervals over prompts; a kappa or alpha of those who always agree has none."
)
_BIASES = (
    "Of judgments that prefer one: how often the response shown first, and how often the longer one (in characters), "
    "is preferred. A slope of s makes a response of twice the length 2**s times as likely, in odds. Cycles: of three "
    "responses to a prompt, a above b above c above a; coins make 0.25."
)
_COMMON = "Pairs that both sources judged: the mean of all annotators of the one against that of the other."


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelReport:
    """Everything that was found: ``numbers`` is what the JSON file holds."""

    numbers: dict[str, Any]

    def to_json(self) -> str:
        """One line of JSON; what doesn't exist (a kappa of nothing) is null."""
        return json.dumps(self.numbers, ensure_ascii=False)


def report_labels(
    sets: Sequence[PreferenceSet],
    *,
    gold: Sequence[PreferenceSet] = (),
    folder: epath.PathLike | None = None,
    samples: int = SAMPLES,
) -> LabelReport:
    """Agreement, biases, cycles, times and the ceiling of some judgments, by dimension and source.

    Args:
      sets: the judgments. Those of one pair find each other over all sets by prompt and response texts, whatever the
        order of the responses; a text and messages are never equal.
      gold: pairs of which the answer is known, as preferences; judgments of them are counted as checks of attention,
        and nowhere else.
      folder: where ``labels.json``, ``report.html`` and its pictures are written, all or none, in the place of an
        earlier report; None writes nothing.
      samples: how often prompts are redrawn for an interval.

    Raises:
      UserError: where a judgment is given twice, where none is of a pair that ``gold`` names, or all are, and where
        ``folder`` is a file.
    """
    if folder is not None and epath.Path(folder).is_file():
        raise UserError(f"--report: {os.fspath(folder)} is a file; right would be a folder, which may be there or not")
    sets = given_once(sets)
    tables = tabulate(itertools.chain.from_iterable(sets), itertools.chain.from_iterable(gold))
    known = sum(int((entry.gold >= 0).sum()) for entry in tables.values())
    names = " and ".join(entry.spec for entry in sets)
    if gold and set(_pairs(gold)).isdisjoint(_pairs(sets)):
        answers = " and ".join(entry.spec for entry in gold)
        raise UserError(
            f"{names}: found no judgment of a pair of {answers}; right would be the same prompts, responses and "
            "dimension (what people said of gold pairs is in a file of its own, NAME.gold.jsonl)"
        )
    if known == sum(map(len, tables.values())):
        raise UserError(
            f"{names}: found {known} judgments, all of them of pairs with a known answer; right would be others"
        )
    groups = groups_of(tables, samples=samples)
    numbers = {
        "data": [entry.spec for entry in sets],
        "gold": [entry.spec for entry in gold],
        "groups": [group.numbers for group in groups],
        "between_sources": between_sources(tables, samples=samples),
    }
    report = LabelReport(numbers=numbers)
    if folder is not None:
        _write(epath.Path(folder), report, groups)
    return report


def _pairs(sets: Sequence[PreferenceSet]) -> Iterator[tuple[str, Text, frozenset[Text]]]:
    """By what the pairs of judgments are known again, whichever way round and however often they were judged."""
    for one in itertools.chain.from_iterable(sets):
        for comparison in one.comparisons:
            yield one.dimension, *one.pair(comparison.left, comparison.right)


def _write(folder: epath.Path, report: LabelReport, groups: Sequence[Group]) -> None:
    pictures = plots.pictures(groups, report.numbers["between_sources"])
    content = json.dumps(report.numbers, ensure_ascii=False, indent=1) + "\n"
    whole = page("What the labels say", [*_sections(report.numbers), *_picture_sections(pictures)])
    files = {name: picture for name, (picture, _, _) in pictures.items()}
    write_together(folder, {**files, NUMBERS: content.encode(), "report.html": whole.encode()})
    for name in set(plots.NAMES) - files.keys():  # of an earlier report
        (folder / name).unlink(missing_ok=True)


def _picture_sections(pictures: dict[str, tuple[bytes, str, str]]) -> list[str]:
    return [picture_section(title, caption, picture) for picture, title, caption in pictures.values()]


def _sections(numbers: dict[str, Any]) -> list[str]:
    groups, between = numbers["groups"], numbers["between_sources"]
    sections = [f"<p>{html.escape(', '.join(numbers['data']))}</p>"]
    if numbers["gold"]:
        sections.append(f"<p>Known answers: {html.escape(', '.join(numbers['gold']))}</p>")
    sections.append(_section("Judgments", _JUDGMENTS, _judgments(groups)))
    judged = [group for group in groups if group["judgments"]]
    sections.append(_section("Agreement between annotators", _AGREEMENT, _agreement(judged)))
    if between:
        sections.append(_section("Agreement between sources", _COMMON, _sources(between)))
    sections.append(_section("The ceiling", _CEILING, _ceiling(judged)))
    sections.append(_section("Biases and cycles", _BIASES, _biases(judged)))
    if any(group["annotators"] for group in groups):
        sections.append(_section("Annotators", _ANNOTATORS, _annotators(groups)))
    return sections


def _section(title: str, caption: str, content: str) -> str:
    return f"<h2>{html.escape(title)}</h2>\n<p>{html.escape(caption)}</p>\n{content}"


def _named(group: dict[str, Any]) -> list[str]:
    return [html.escape(group["dimension"]), html.escape(group["source"])]


def _estimate(entry: dict[str, Any]) -> str:
    """A value with its interval."""
    if entry["value"] is None:
        return "–"
    if entry["low"] is None:
        return number(entry["value"])
    return f"{entry['value']:.3f} <small>{entry['low']:.3f} to {entry['high']:.3f}</small>"


def _judgments(groups: Sequence[dict[str, Any]]) -> str:
    head = ("dimension", "source", "judgments", "pairs", "prompts", "annotators", "by nobody named", "ties", "strength",
            "median s", "10 % to 90 % s", "right on gold")  # fmt: skip
    rows = []
    for group in groups:
        seconds = group["seconds"]
        strengths = " · ".join(f"{html.escape(word)} {count}" for word, count in group["strength"].items())
        rows.append(
            [
                *_named(group), number(group["judgments"]), number(group["pairs"]), number(group["prompts"]),
                number(len(group["annotators"])), number(group["unnamed"]), number(group["ties"]), strengths or "–",
                _seconds(seconds["median"]), _seconds(seconds["p10"], seconds["p90"]),
                _estimate(group["gold"]),
            ]
        )  # fmt: skip
    return table(head, rows, names=2)


def _seconds(*values: float | None) -> str:
    return "–" if None in values else " to ".join(f"{value:.1f}" for value in values)


def _agreement(groups: Sequence[dict[str, Any]]) -> str:
    head = ("dimension", "source", "pairs judged by several", "say the same", "Fleiss' kappa", "Krippendorff's alpha",
            "alpha of intervals", "the same again")  # fmt: skip
    keys = ("percent", "fleiss_kappa", "krippendorff_nominal", "krippendorff_interval")
    rows = [
        [
            *_named(group),
            number(group["agreement"]["pairs_judged_by_several"]),
            *(_estimate(group["agreement"][key]) for key in keys),
            _estimate(group["agreement"]["with_themselves"]["percent"]),
        ]
        for group in groups
    ]
    return table(head, rows, names=2)


def _sources(between: Sequence[dict[str, Any]]) -> str:
    head = ("dimension", "sources", "pairs", "say the same", "Cohen's kappa", "Pearson", "Spearman")
    rows = [
        [
            html.escape(entry["dimension"]),
            html.escape(f"{entry['first']} and {entry['second']}"),
            number(entry["pairs"]),
            *(_estimate(entry[key]) for key in ("percent", "cohen_kappa", "pearson")),
            number(entry["spearman"]),
        ]
        for entry in between
    ]
    return table(head, rows, names=2)


def _ceiling(groups: Sequence[dict[str, Any]]) -> str:
    head = ("dimension", "source", "pairs", "q", "at most", "of soft labels", "least nll of soft labels")
    keys = ("agreement", "at_most", "soft", "least_nll")
    rows = [
        [*_named(group), number(group["ceiling"]["pairs"]), *(_estimate(group["ceiling"][key]) for key in keys)]
        for group in groups
    ]
    return table(head, rows, names=2)


def _biases(groups: Sequence[dict[str, Any]]) -> str:
    head = ("dimension", "source", "first preferred", "mean probability of the first",
            "longer preferred", "slope on log length",
            "cycles of one annotator", "triples", "cycles of the mean", "triples")  # fmt: skip
    rows = []
    for group in groups:
        own, mean = (group["cycles"][key] for key in ("within_annotators", "of_the_mean"))
        keys = ("shown_first_preferred", "first_probability", "longer_preferred", "length_slope")
        triples = (_estimate(own), number(own["count"]), _estimate(mean), number(mean["count"]))
        rows.append([*_named(group), *(_estimate(group[key]) for key in keys), *triples])
    return table(head, rows, names=2)


def _annotators(groups: Sequence[dict[str, Any]]) -> str:
    head = ("dimension", "source", "annotator", "judgments", "ties", "agrees with others", "first preferred",
            "longer preferred", "right on gold", "median s")  # fmt: skip
    keys = ("agreement_with_others", "shown_first_preferred", "longer_preferred", "gold")
    rows = [
        [
            *_named(group),
            html.escape(entry["name"]),
            number(entry["judgments"]),
            number(entry["ties"]),
            *(_estimate(entry[key]) for key in keys),
            _seconds(entry["seconds"]["median"]),
        ]
        for group in groups
        for entry in group["annotators"]
    ]
    return table(head, rows, names=3)
