"""The record that everything starts from: one prompt, its responses, and the comparisons made between them."""

import dataclasses
import enum
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rmjax.errors import UserError

UNNAMED_DIMENSION = "preference"  # of rows whose dimension neither they nor whoever trains on them names


class Source(enum.Enum):
    """Who judged. A source is never lost on the way from the record to the report."""

    HUMAN = "human"
    AI = "ai"
    RULE = "rule"
    SIMULATED = "simulated"


class Strength(enum.Enum):
    """How much better the preferred response is, in a labeler's words."""

    SLIGHTLY = "slightly"
    CLEARLY = "clearly"
    MUCH = "much"


class Side(enum.Enum):
    """One of the two responses of a comparison."""

    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str  # "system", "user" or "assistant"
    content: str


Text = str | tuple[Message, ...]
PairKey = tuple[Text, frozenset[Text]]
"""By what a pair is known again, whichever way round it is laid: the prompt and both responses."""


def response_field(fields: tuple[str, ...], place: int) -> str:
    """What errors call a response, by the names of the fields that its row has for the prompt and for each response."""
    return fields[1 + place] if fields else f"responses[{place}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One judgment: of two responses to the prompt, how likely a labeler prefers the left one.

    Attributes:
      left, right: indices into the record's responses.
      probability: that left is preferred, in [0, 1]: 1 a hard label, 0.5 a tie, between them a soft label.
      margin: how much better left is, in units of reward, signed towards left.
      weight: what the comparison counts in the loss; a ranking of K responses has K(K-1)/2 comparisons of weight
        1/(K(K-1)/2) each (Ouyang et al., 2022, section 3.5), so that no prompt counts more than another.
      annotator: who made it, where that is known.
      true_probability: the probability with which such a labeler prefers left, where it is known (simulated labelers);
        ``probability`` is then one draw from it.
      strength: how much better the preferred response is, where the labeler said it.
      shown_first: which response the labeler saw first, where that is known: on the left of a page, first in a judge's
        prompt.
      seconds: that the labeler took.
      judged_at: when, in ISO 8601 with the offset from UTC.
    """

    left: int
    right: int
    probability: float = 1.0
    margin: float = 0.0
    weight: float = 1.0
    annotator: str | None = None
    true_probability: float | None = None
    strength: Strength | None = None
    shown_first: Side | None = None
    seconds: float | None = None
    judged_at: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """One prompt, K >= 2 responses to it, and the comparisons made between them on one dimension.

    Attributes:
      prompt: plain text, or the messages of a conversation.
      responses: plain texts (laid after the prompt as they are, without a separator), or the messages that follow.
        Prompt and responses are of one kind.
      comparisons: at least one, but where a task is made of it (``rmjax.preferences.tasks``).
      dimension: what the labelers were asked to judge; a name of an open set.
      source: who judged.
      utilities: the true utility of each response on the dimension, where it is known (synthetic data).
      known_answer: the better of the two responses, left the first and right the second, where the labelers were asked
        about them to check their attention: such judgments are counted apart, and never learned from.
      id: the row's own name, by which labels find their way back to what was judged; None where it has none.
      origin: where the record came from, as messages show it (``FILE, line N``).
      fields: likewise the names of the fields there that hold the prompt and each response; empty where there are none.
        These three say nothing about the preference itself, so records that differ in them alone are equal.
    """

    prompt: Text
    responses: tuple[Text, ...]
    comparisons: tuple[Comparison, ...]
    dimension: str
    source: Source
    utilities: tuple[float, ...] | None = None
    known_answer: Side | None = None
    id: str | None = field(default=None, compare=False)
    origin: str = field(default="", compare=False)
    fields: tuple[str, ...] = field(default=(), compare=False)

    def pair(self, left: int, right: int) -> PairKey:
        """By what the pair of these two responses is known again."""
        return self.prompt, frozenset((self.responses[left], self.responses[right]))

    def on(self, dimension: str) -> "Preference":
        """The record as one of that dimension, without the utilities and the known answer of another."""
        if dimension == self.dimension:
            return self
        return dataclasses.replace(self, dimension=dimension, utilities=None, known_answer=None)


class RowError(UserError):
    """A row that can't be used.

    The message names the place, the field, what was found and what would be right; ``kind`` is a short name of the
    fault ("empty field", "identical responses"), by which skipped rows are counted. ``field`` is empty where the row as
    a whole is at fault (a line that is not JSON).
    """

    def __init__(self, *, origin: str, field: str, kind: str, found: str, right: str):
        place = f"{origin}: field {field!r}" if field else origin
        super().__init__(f"{place}: {kind}: found {found}; right would be {right}")
        self.origin = origin
        self.field = field
        self.kind = kind
        self.found = found
        self.right = right


class FileError(UserError):
    """A file that can't be read at all (missing, cut off, of another format); no setting skips it."""

    def __init__(self, file: str, *, found: str, right: str):
        super().__init__(f"{file}: found {found}; right would be {right}")
        self.file = file


@dataclass(frozen=True, kw_only=True, slots=True)
class PreferenceSet:
    """The preferences of one data spec, in order, with the count of what was skipped on the way.

    Attributes:
      spec: the data spec as it was given.
      preferences: the records.
      skipped: how many rows were skipped, by kind of fault.
      license: of the data, where whoever publishes them states one.
    """

    spec: str
    preferences: tuple[Preference, ...]
    skipped: Counter[str] = field(default_factory=Counter)
    license: str | None = None

    def __len__(self) -> int:
        return len(self.preferences)

    def __iter__(self) -> Iterator[Preference]:
        return iter(self.preferences)


def sources(preferences: Iterable[Preference]) -> str:
    """The sources of the preferences, each once, joined by "+" in alphabetical order."""
    return "+".join(sorted({preference.source.value for preference in preferences}))
