"""What a labeler says of a file of tasks, written as preferences."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass

from rmjax.labeling.labeler import Labeler
from rmjax.labeling.replaced import check_replaced
from rmjax.preferences.record import Preference
from rmjax.preferences.write import checked_output, write_preferences


@dataclass(frozen=True, kw_only=True, slots=True)
class LabeledReport:
    """What a labeler has judged.

    Attributes:
      tasks: prompts of which pairs were judged.
      pairs: that were judged: ``left`` and ``right`` are those of which that response is preferred, ``ties`` the rest.
      output: the file of the labels.
    """

    tasks: int
    pairs: int
    left: int
    right: int
    ties: int
    output: str

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def label_with(labeler: Labeler, preferences: Iterable[Preference], output: str) -> LabeledReport:
    """Writes the preferences with this labeler's judgments, whole or not at all, margins 0 and weights kept.

    UserError for an output of another suffix, or one that holds anything but labels of this labeler's source and
    dimension.
    """
    check_replaced(checked_output(output), labeler.source, dimension=labeler.dimension)
    judged = [labeler.judge(preference) for preference in preferences]
    write_preferences(output, judged)
    said = [comparison.probability for one in judged for comparison in one.comparisons]
    left, right = sum(one > 0.5 for one in said), sum(one < 0.5 for one in said)
    return LabeledReport(
        tasks=len(judged), pairs=len(said), left=left, right=right, ties=len(said) - left - right, output=output
    )
