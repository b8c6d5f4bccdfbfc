"""What was found of one model on a benchmark, published numbers and partial ones kept apart."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from rmjax.evaluation.benchmark_rule import BenchmarkRule, Scores


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkResult:
    """One model on a benchmark: a line of the results.

    A number stands for the benchmark only where all published rows of all its subsets were read and scored. Any other
    is partial: it is made of what is there, and is to be compared with nothing.

    Attributes:
      model: the workdir as it was given.
      benchmark: its name.
      data: the paths as they were given.
      step: the training step that was evaluated.
      head: the reward head that was asked for.
      rule: of the benchmark.
      scores: all of them, partial ones too.
      rows: how many rows of each subset were scored.
      left_out: how many rows could not be used, by kind of fault.
      cut_prompts: how many prompts lost tokens to the model's limit.
    """

    model: str
    benchmark: str
    data: tuple[str, ...]
    step: int
    head: str | None
    rule: BenchmarkRule
    scores: Scores
    rows: Counter[str]
    left_out: Counter[str]
    cut_prompts: int

    @property
    def expected(self) -> tuple[str, ...]:
        """The subsets that should be there: all, the optional ones if any of them is."""
        optional = any(subset in self.rule.optional for subset in self.rows)
        needed = {subset for members in self.rule.totals.values() for subset in members}
        return tuple(
            subset for subset in self.rule.published
            if subset in self.rows or (subset in needed and (optional or subset not in self.rule.optional))
        )  # fmt: skip

    @property
    def missing(self) -> tuple[str, ...]:
        """The subsets without a score."""
        return tuple(subset for subset in self.expected if subset not in self.scores.subsets)

    @property
    def incomplete(self) -> dict[str, str]:
        """The subsets that were scored on another number of rows than was published, in words."""
        return {
            subset: f"{self.rows[subset]} of {self.rule.published[subset]} rows"
            for subset in self.expected
            if subset in self.scores.subsets and self.rows[subset] != self.rule.published[subset]
        }

    @property
    def complete(self) -> bool:
        """Whether the overall score is the benchmark's."""
        return self._whole(next(iter(self.rule.totals.values())))

    def to_json(self) -> str:
        """The line: one JSON object; partial numbers are under ``partial`` and null elsewhere."""
        line: dict[str, Any] = {name: getattr(self, name) for name in ("model", "benchmark", "data", "step", "head")}
        line |= {"complete": self.complete, next(iter(self.rule.totals)): None}
        parts = {
            "sections": (self.scores.sections, self.rule.sections),
            "subsets": (self.scores.subsets, {subset: (subset,) for subset in self.rule.published}),
        }
        partial: dict[str, Any] = {}
        for name, value in self.scores.totals.items():
            line[name] = self._published(value, self.rule.totals[name])
            if line[name] is None:
                partial[name] = value
        for part, (values, made_of) in parts.items():
            line[part] = {name: self._published(value, made_of[name]) for name, value in values.items()}
            if rest := {name: values[name] for name, value in line[part].items() if value is None}:
                partial[part] = rest
        line["partial"] = partial or None
        line["missing"] = self.missing
        line["incomplete"] = self.incomplete
        line["rows"] = {subset: self.rows[subset] for subset in self.expected}
        line["left_out"] = dict(sorted(self.left_out.items()))
        line["cut_prompts"] = self.cut_prompts
        return json.dumps(line, ensure_ascii=False)

    def _whole(self, subsets: tuple[str, ...]) -> bool:
        return all(
            subset in self.scores.subsets and self.rows[subset] == self.rule.published[subset] for subset in subsets
        )

    def _published(self, value: float, subsets: tuple[str, ...]) -> float | None:
        return value if self._whole(subsets) else None


def in_words(result: BenchmarkResult) -> str:
    """The result as one line for people."""
    totals = {next(iter(result.rule.totals)): None} | result.scores.totals
    parts = result.scores.sections or result.scores.subsets
    said = f"{result.model} on {result.benchmark}: {'' if result.complete else 'PARTIAL, not the published score: '}"
    said += ", ".join(f"no {name} score" if value is None else f"{name} {value:.4f}" for name, value in totals.items())
    said += f" ({', '.join(f'{name} {value:.4f}' for name, value in parts.items())})"
    why = [f"{subset} is missing" for subset in result.missing]
    why += [f"{subset} has {found}" for subset, found in result.incomplete.items()]
    more = f", and {len(why) - 3} more" if len(why) > 3 else ""
    return f"{said}; {', '.join(why[:3])}{more}" if why else said
