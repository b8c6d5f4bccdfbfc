"""What a labeler says of a file of tasks, written as preferences."""

from collections.abc import Iterable

from rmjax.labeling.labeler import Labeler
from rmjax.preferences.record import Preference
from rmjax.preferences.write import write_preferences


def label_with(labeler: Labeler, preferences: Iterable[Preference], output: str) -> None:
    """Writes the preferences with this labeler's judgments, whole or not at all, margins 0 and weights kept."""
    write_preferences(output, (labeler.judge(preference) for preference in preferences))
