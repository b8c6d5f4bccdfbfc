"""What a labeler says of a file of tasks, written as preferences."""

from collections.abc import Iterable

from rmjax.labeling.labeler import Labeler
from rmjax.labeling.replaced import check_replaced
from rmjax.preferences.record import Preference
from rmjax.preferences.write import checked_output, write_preferences


def label_with(labeler: Labeler, preferences: Iterable[Preference], output: str) -> None:
    """Writes the preferences with this labeler's judgments, whole or not at all, margins 0 and weights kept.

    UserError for an output of another suffix, or one that holds anything but labels of this labeler's source.
    """
    check_replaced(checked_output(output), labeler.source)
    write_preferences(output, (labeler.judge(preference) for preference in preferences))
