"""From the store to preferences: what people said, as any reader of preferences takes it."""

import dataclasses
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from absl import logging

from rmjax.labeling.store import Store
from rmjax.labeling.tasks import Task
from rmjax.preferences.record import Comparison, Preference, Side, Source, Strength
from rmjax.preferences.write import write_preferences

_PROBABILITY = {"left": 1.0, "tie": 0.5, "right": 0.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What stands in a store.

    Attributes:
      preferences: one for each task that was judged, in the order of the tasks; every judgment is a comparison, in
        the order in which they were made. With n pairs of the task judged, it weighs 1/n: a task counts once for each
        annotator who judged them all, however many responses it has.
      skipped: how many judgments were skips, which are left out.
      gold: by annotator (right, all) judgments of gold pairs, which are left out too.
      median_seconds: for each judgment, by annotator, gold pairs included.
    """

    preferences: tuple[Preference, ...]
    skipped: int = 0
    gold: dict[str, tuple[int, int]] = field(default_factory=dict)
    median_seconds: dict[str, float] = field(default_factory=dict)

    def in_words(self) -> str:
        """The counts, for the log."""
        comparisons = [one for preference in self.preferences for one in preference.comparisons]
        ties = sum(one.probability == 0.5 for one in comparisons)
        words = [f"{len(comparisons)} judgments of {len(self.preferences)} tasks, {ties} of them ties"]
        words.append(f"{self.skipped} skips left out")
        for name, seconds in sorted(self.median_seconds.items()):
            right, total = self.gold.get(name, (0, 0))
            checked = f", {right} of {total} gold pairs right" if total else ""
            words.append(f"{name}: median {seconds:.1f} s{checked}")
        return "; ".join(words)


def read_judged(store: Store) -> Judged:
    """The judgments of the store that stand."""
    dimension = store.setting("dimension")
    with store.transaction() as database:
        rows = database.execute(
            "SELECT standing.*, pairs.task, pairs.left, pairs.right, pairs.gold FROM standing "
            "JOIN pairs ON pairs.number = standing.pair ORDER BY standing.number"
        ).fetchall()
        tasks = [Task.of_texts(*row) for row in database.execute("SELECT id, texts FROM tasks ORDER BY rowid")]
    comparisons: dict[str, list[Comparison]] = {}
    seconds: dict[str, list[float]] = {}
    gold: dict[str, Counter[bool]] = {}
    for row in rows:
        if row["answer"] == "skip":
            continue
        seconds.setdefault(row["annotator"], []).append(row["seconds"])
        if row["gold"] is not None:
            gold.setdefault(row["annotator"], Counter())[row["answer"] == row["gold"]] += 1
            continue
        comparison = Comparison(
            left=row["left"], right=row["right"], probability=_PROBABILITY[row["answer"]], annotator=row["annotator"],
            strength=Strength(row["strength"]) if row["strength"] else None, shown_first=Side(row["shown_first"]),
            seconds=row["seconds"], judged_at=row["judged_at"],
        )  # fmt: skip
        comparisons.setdefault(row["task"], []).append(comparison)
    return Judged(
        preferences=tuple(
            Preference(
                prompt=task.prompt, responses=task.responses, comparisons=_weighted(comparisons[task.id]),
                dimension=dimension, source=Source.HUMAN, origin=f"{store.path}, task {task.id!r}",
            )
            for task in tasks
            if task.id in comparisons
        ),
        skipped=sum(row["answer"] == "skip" for row in rows),
        gold={name: (counts[True], counts.total()) for name, counts in gold.items()},
        median_seconds={name: statistics.median(values) for name, values in seconds.items()},
    )  # fmt: skip


def _weighted(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The judgments of one task, by the number of its pairs that have any."""
    pairs = len({(comparison.left, comparison.right) for comparison in comparisons})
    return tuple(dataclasses.replace(comparison, weight=1 / pairs) for comparison in comparisons)


def export_judged(store: Store, output: str) -> None:
    """Writes the judgments that stand to a file of preferences, whole or not at all; nothing where there are none."""
    judged = read_judged(store)
    if not judged.preferences:
        logging.warning("%s: nothing was judged yet, so %s is not written", store.path, output)
        return
    write_preferences(output, judged.preferences)
    logging.info("%s: %s", output, judged.in_words())
