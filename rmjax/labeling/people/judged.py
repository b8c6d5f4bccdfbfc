"""From the store to preferences: what people said, as any reader of preferences takes it."""

import dataclasses
import sqlite3
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from absl import logging
from etils import epath

from rmjax.config import ConfigError
from rmjax.errors import ReportedError
from rmjax.labeling.people.store import Store
from rmjax.labeling.replaced import judgments, rows_replaced
from rmjax.preferences.record import Comparison, Preference, Side, Source, Strength
from rmjax.preferences.tasks import Task
from rmjax.preferences.write import checked_output, write_preferences

_KNOWN = ("annotator", "judged_at", "shown_first")  # by which judgments are known again
_PROBABILITY = {"left": 1.0, "tie": 0.5, "right": 0.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What stands in a store.

    Attributes:
      preferences: one for each task that was judged, in the order of the tasks; every judgment is a comparison, in
        the order in which they were made. With n pairs of the task judged, it weighs 1/n: a task counts once for each
        annotator who judged them all, however many responses it has.
      gold_preferences: likewise of the gold pairs, which are in no task: what each annotator said of them first, also
        where it was taken back, since whoever finds out which pairs are gold could answer those again with more care.
      skipped: how many judgments were skips, which are left out.
      gold: by annotator (right, all) of the judgments in ``gold_preferences``.
      median_seconds: for each judgment that stands, by annotator, gold pairs included.
    """

    preferences: tuple[Preference, ...]
    gold_preferences: tuple[Preference, ...] = ()
    skipped: int = 0
    gold: dict[str, tuple[int, int]] = field(default_factory=dict)
    median_seconds: dict[str, float] = field(default_factory=dict)

    def in_words(self) -> str:
        """The counts, for the log."""
        comparisons = [one for preference in self.preferences for one in preference.comparisons]
        ties = sum(one.probability == 0.5 for one in comparisons)
        words = [f"{len(comparisons)} judgments of {len(self.preferences)} tasks, {ties} of them ties"]
        words.append(f"{self.skipped} skips left out")
        for name in sorted(self.median_seconds.keys() | self.gold):
            seconds, (right, total) = self.median_seconds.get(name), self.gold.get(name, (0, 0))
            said = [] if seconds is None else [f"median {seconds:.1f} s"]
            said += [f"{right} of {total} gold pairs right"] if total else []
            words.append(f"{name}: {', '.join(said)}")
        return "; ".join(words)


_STANDING = (
    "SELECT standing.*, task, left, right, gold FROM standing JOIN pairs ON pairs.number = standing.pair "
    "ORDER BY standing.number"
)
_GOLD = (
    "SELECT judgments.*, task, left, right, gold FROM judgments JOIN pairs ON pairs.number = judgments.pair "
    "WHERE judgments.number IN (SELECT min(number) FROM judgments WHERE answer NOT IN ('skip', 'undo') "
    "GROUP BY pair, annotator) AND gold IS NOT NULL ORDER BY judgments.number"
)


def read_judged(store: Store) -> Judged:
    """The judgments of the store that stand, and the first ones of gold pairs."""
    with store.transaction() as database:
        standing, golden = (database.execute(query).fetchall() for query in (_STANDING, _GOLD))
        tasks = [Task.of_texts(*row) for row in database.execute("SELECT id, texts FROM tasks ORDER BY rowid")]
    judged = [row for row in standing if row["answer"] != "skip"]
    seconds: dict[str, list[float]] = {}
    for row in judged:
        seconds.setdefault(row["annotator"], []).append(row["seconds"])
    gold: dict[str, Counter[bool]] = {}
    for row in golden:
        gold.setdefault(row["annotator"], Counter())[row["answer"] == row["gold"]] += 1
    return Judged(
        preferences=_preferences(store, tasks, [row for row in judged if row["gold"] is None]),
        gold_preferences=_preferences(store, tasks, golden),
        skipped=len(standing) - len(judged),
        gold={name: (counts[True], counts.total()) for name, counts in gold.items()},
        median_seconds={name: statistics.median(values) for name, values in seconds.items()},
    )


def _preferences(store: Store, tasks: Sequence[Task], judged: Sequence[sqlite3.Row]) -> tuple[Preference, ...]:
    """One for each task that was judged."""
    dimension = store.setting("dimension")
    comparisons: dict[str, list[Comparison]] = {}
    golden = {row["task"]: Side(row["gold"]) for row in judged if row["gold"] is not None}
    for row in judged:
        comparison = Comparison(
            left=row["left"], right=row["right"], probability=_PROBABILITY[row["answer"]], annotator=row["annotator"],
            strength=Strength(row["strength"]) if row["strength"] else None, shown_first=Side(row["shown_first"]),
            seconds=row["seconds"], judged_at=row["judged_at"],
        )  # fmt: skip
        comparisons.setdefault(row["task"], []).append(comparison)
    return tuple(
        Preference(
            prompt=task.prompt, responses=task.responses, comparisons=_weighted(comparisons[task.id]),
            dimension=dimension, source=Source.HUMAN, origin=f"{store.path}, task {task.id!r}",
            id=task.own_id, known_answer=golden.get(task.id),
        )
        for task in tasks
        if task.id in comparisons
    )  # fmt: skip


def _weighted(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The judgments of one task, by the number of its pairs that have any."""
    pairs = len({(comparison.left, comparison.right) for comparison in comparisons})
    return tuple(dataclasses.replace(comparison, weight=1 / pairs) for comparison in comparisons)


def gold_path(output: str) -> str:
    """Where the judgments of gold pairs are written, which nothing should be trained on: NAME.gold.jsonl.

    FileError for an output of another suffix than .jsonl and .jsonl.gz.
    """
    stem = checked_output(output).removesuffix(".gz").removesuffix(".jsonl")
    return f"{stem}.gold{output[len(stem) :]}"


def check_exported(store: Store, output: str) -> None:
    """ConfigError where ``output`` or its ``gold_path`` is there and holds anything but judgments made in this store.

    Source human doesn't tell: known answers and published preferences have it too, and other jobs' exports. But a
    store never forgets a judgment: all that was ever exported from it is in it, by annotator, time and first side.
    """
    there = [
        (file, origin, one)
        for file in (output, gold_path(output))
        for origin, row in rows_replaced(file, Source.HUMAN)
        for one in judgments(row, _KNOWN)
    ]
    # Read after the files, which may be those of an export that has just ended, with judgments of a moment ago.
    with store.transaction() as database:
        made = {tuple(row) for row in database.execute(f"SELECT {', '.join(_KNOWN)} FROM judgments")}
    for file, origin, one in there:
        if one not in made:
            raise ConfigError(
                f"--output: {file} is there already, and {origin} has what was not judged in {store.path}; right would "
                "be a new file, or the --store that belongs to it"
            )


def export_judged(store: Store, output: str) -> None:
    """Writes the judgments that stand to a file of preferences, whole or not at all, and those of gold pairs to another
    one beside it (``gold_path``); no file where it would be empty.

    Raises:
      ConfigError: as ``check_exported``; then neither is written.
      ReportedError: where no judgment stands any more, but ``output`` has some of before.
    """
    check_exported(store, output)
    judged = read_judged(store)
    if judged.gold_preferences:
        write_preferences(gold_path(output), judged.gold_preferences)
    if judged.preferences:
        write_preferences(output, judged.preferences)
        logging.info("%s: %s", output, judged.in_words())
        return
    logging.warning("%s: no judgment stands, so %s is not written: %s", store.path, output, judged.in_words())
    if epath.Path(output).exists():
        raise ReportedError(
            f"{output} has judgments, but none stands in {store.path}; right would be to delete the file, or the "
            "--store that belongs to it"
        )
