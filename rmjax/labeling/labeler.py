"""Who can judge: what a labeler is, and the labelers that a data spec can name (``SPEC@brevity``)."""

from typing import Protocol, runtime_checkable

from rmjax.labeling.rule import BREVITY
from rmjax.preferences.record import Preference, Source


@runtime_checkable
class Labeler(Protocol):
    """Judges one dimension. The same pairs are compared as before; only the judgments are new."""

    @property
    def dimension(self) -> str:
        """What it judges."""
        ...

    @property
    def source(self) -> Source:
        """What kind of judge it is."""
        ...

    def judge(self, preference: Preference) -> Preference:
        """The same prompt, responses and compared pairs with this labeler's judgments: weights kept, margins 0."""
        ...


LABELERS: dict[str, Labeler] = {"brevity": BREVITY}


def find_labeler(name: str) -> Labeler:
    """The labeler of that name; ValueError lists the names there are."""
    if name not in LABELERS:
        raise ValueError(f"there is no labeler {name!r}; the labelers are {', '.join(sorted(LABELERS))}")
    return LABELERS[name]
