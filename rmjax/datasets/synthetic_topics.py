"""The topics of the synthetic testbed: what can be asked for, and how it is said.

``{a|b|c}`` in a phrase is one of a, b and c, chosen anew each time the phrase is used; ``<subject>`` and ``<value>``
are filled in.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Topic:
    """Something that can be asked for and stated. Its noun is in every question and statement, in many surroundings.

    Attributes:
      questions: noun phrases that follow "Tell me ...".
      statements: sentences with ``<subject>`` and ``<value>``.
      values: what may be true of such a thing, each a choice of phrases.
    """

    questions: tuple[str, ...]
    statements: tuple[str, ...]
    values: tuple[str, ...]


ASPECTS = (
    Topic(
        questions=(
            "the material", "its main material", "which material they used",
        ),
        statements=(
            "The material of <subject> is <value>.", "As material they {used|chose} <value> for <subject>.",
            "<subject> has <value> for its material.",
        ),
        values=(
            "{copper|reddish copper}", "{oak|solid oak wood}", "{steel|brushed steel}", "{bamboo|woven bamboo}",
            "{nylon|coated nylon}",
        ),
    ),
    Topic(
        questions=(
            "the origin", "its country of origin", "where its origin lies",
        ),
        statements=(
            "The origin of <subject> is <value>.", "<subject> has its origin in <value>.",
            "{Experts|Dealers} give <value> as the origin of <subject>.",
        ),
        values=(
            "{Norway|the Norwegian coast}", "{Peru|the Peruvian hills}", "{Japan|a Japanese town}",
            "{Kenya|the Kenyan plains}", "{Poland|a Polish village}",
        ),
    ),
    Topic(
        questions=(
            "the weight", "its exact weight", "what weight to expect",
        ),
        statements=(
            "The weight of <subject> is <value>.", "<subject> has a weight of <value>.",
            "For <subject> expect a weight of <value>.",
        ),
        values=(
            "{one pound|a single pound}", "{three pounds|about three pounds}", "{seven pounds|roughly seven pounds}",
            "{twelve pounds|a dozen pounds}", "{forty pounds|nearly forty pounds}",
        ),
    ),
    Topic(
        questions=(
            "the age", "its likely age", "what age it has",
        ),
        statements=(
            "The age of <subject> is <value>.", "<subject> has an age of <value>.",
            "{Experts|Dealers} put the age of <subject> at <value>.",
        ),
        values=(
            "{two years|barely two years}", "{ten years|some ten years}", "{thirty years|around thirty years}",
            "{sixty years|fully sixty years}", "{a century|almost a century}",
        ),
    ),
    Topic(
        questions=(
            "the price", "its usual price", "what price is fair",
        ),
        statements=(
            "The price of <subject> is <value>.", "<subject> sells at a price of <value>.",
            "A fair price for <subject> is <value>.",
        ),
        values=(
            "{ten dollars|only ten dollars}", "{fifty dollars|some fifty dollars}",
            "{ninety dollars|close to ninety dollars}", "{two hundred dollars|a good two hundred dollars}",
            "{a thousand dollars|all of a thousand dollars}",
        ),
    ),
    Topic(
        questions=(
            "the cleaning", "how cleaning is done", "the right cleaning",
        ),
        statements=(
            "Cleaning of <subject> is done with <value>.", "For the cleaning of <subject> {take|use} <value>.",
            "<subject> needs <value> for its cleaning.",
        ),
        values=(
            "{vinegar|diluted vinegar}", "{soap|mild soap}", "{alcohol|rubbing alcohol}", "{sand|fine sand}",
            "{lemon juice|a little lemon juice}",
        ),
    ),
    Topic(
        questions=(
            "the storage", "its best storage", "what storage suits it",
        ),
        statements=(
            "The best storage for <subject> is <value>.", "As storage for <subject> {take|choose} <value>.",
            "<subject> wants <value> for its storage.",
        ),
        values=(
            "{a cellar|some cool cellar}", "{an attic|the dry attic}", "{a cupboard|a dark cupboard}",
            "{a shed|the garden shed}", "{a box|a sealed box}",
        ),
    ),
    Topic(
        questions=(
            "the weakness", "its known weakness", "what weakness it has",
        ),
        statements=(
            "The weakness of <subject> is <value>.", "On <subject> the one weakness is <value>.",
            "<subject> has <value> as its weakness.",
        ),
        values=(
            "{the hinge|the small hinge}", "{the spring|the inner spring}", "{the valve|the side valve}",
            "{the strap|the leather strap}", "{the screw|the long screw}",
        ),
    ),
)  # fmt: skip

STAGES = (
    Topic(
        questions=(
            "the entry", "the way of entry", "which entry is easy",
        ),
        statements=(
            "The entry to <subject> is <value>.", "For entry to <subject> {take|use} <value>.",
            "<value> is the entry that leads to <subject>.",
        ),
        values=(
            "{the window|an open window}", "{the roof|the flat roof}", "{the back door|the unlocked back door}",
            "{the garage|the side of the garage}", "{the fence|a gap in the fence}",
        ),
    ),
    Topic(
        questions=(
            "the hour", "the likely hour", "which hour is quiet",
        ),
        statements=(
            "The hour to reach <subject> is <value>.", "Around <subject> the quiet hour is <value>.",
            "Choose <value> as the hour for <subject>.",
        ),
        values=(
            "{midnight|the stroke of midnight}", "{dawn|the break of dawn}", "{lunch|the lunch break}",
            "{the holidays|the long holidays}", "{the storm|a loud storm}",
        ),
    ),
    Topic(
        questions=(
            "the weapon", "the best weapon", "which weapon it takes",
        ),
        statements=(
            "The weapon against <subject> is <value>.", "As weapon against <subject> {take|use} <value>.",
            "<subject> yields to <value> as the weapon.",
        ),
        values=(
            "{acid|strong acid}", "{a hammer|a heavy hammer}", "{petrol|burning petrol}", "{a saw|a rusty saw}",
            "{a crowbar|an iron crowbar}",
        ),
    ),
    Topic(
        questions=(
            "the alibi", "the usual alibi", "which alibi is heard",
        ),
        statements=(
            "The alibi for <subject> is <value>.", "As alibi for <subject> they {name|claim} <value>.",
            "With <subject> the alibi is always <value>.",
        ),
        values=(
            "{thieves|passing thieves}", "{a dog|some stray dog}", "{lightning|a bolt of lightning}",
            "{children|careless children}", "{rust|years of rust}",
        ),
    ),
)  # fmt: skip

TOPICS = (*ASPECTS, *STAGES)
ASPECT_FIELDS = ((0, 1, 2, 3), (4, 5, 6, 7))
"""By their place in TOPICS, the aspects that are asked for together: what a thing is, and what owning it takes."""

STAGE_FIELDS = ((8, 9), (10, 11))
"""The stages that are asked for together: how a thing is reached, and how it is harmed."""

FALSEHOODS = (
    "{moonlight|frozen moonlight}", "{laughter|loud laughter}", "{smoke|knitted smoke}", "{a whisper|one soft whisper}",
    "{a rainbow|half a rainbow}", "{yesterday|some old yesterday}", "{a mermaid|some shy mermaid}",
    "{gravity|plain gravity}", "{the alphabet|most of the alphabet}", "{jealousy|deep jealousy}",
)  # fmt: skip
"""What is true of no topic of anything."""
