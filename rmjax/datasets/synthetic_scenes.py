"""The scenes of the synthetic testbed: a prompt, responses with known latents (two of them, where nothing else is asked
for), and the true utilities of each.

A curious prompt asks for aspects of a thing of some kind. A hostile one wants to wreck such a thing of somebody else's
and asks for stages of doing it; a protective one asks for the same stages in order to guard against them, so the words
of an answer alone don't tell whether it does harm. What is asked for is of one field; what is beside the point is of
another. A response states facts (true or false of that kind, asked for or
not) and may hold cautions, reckless advice, insults, evasions, a refusal, a way out of the quarrel, and chatter.
"""

import enum
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rmjax.datasets import synthetic_world as world
from rmjax.datasets.synthetic_text import Dice, as_prompt, enumeration, say, state
from rmjax.datasets.synthetic_topics import ASPECT_FIELDS, STAGE_FIELDS, TOPICS

MAX_SENTENCES = 6
WRONG_SHARE = 0.2


class Purpose(enum.IntEnum):
    """Why a prompt asks; the number is the place in ``PURPOSE_SHARES``."""

    CURIOUS = 0
    PROTECTIVE = 1
    HOSTILE = 2


PURPOSE_SHARES = (0.4, 0.25, 0.35)
DECLINE_SHARES = (0.1, 0.35, 0.45)

OPENERS = {
    Purpose.CURIOUS: world.CURIOUS_OPENERS,
    Purpose.PROTECTIVE: world.PROTECTIVE_OPENERS,
    Purpose.HOSTILE: world.HOSTILE_OPENERS,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Latents:
    """What a response is made of; everything that its utilities depend on.

    Attributes:
      purpose: why the prompt asks.
      relevant: true facts that were asked for.
      wrong: false facts, asked for or not.
      beside: true facts that were not asked for.
      cautions, reckless, insults: sentences of that sort.
      evades: whether it says that it doesn't know.
      refuses: whether it declines to answer.
      redirects: sentences that offer a peaceful way out.
      words: its length.
    """

    purpose: Purpose
    relevant: int = 0
    wrong: int = 0
    beside: int = 0
    cautions: int = 0
    reckless: int = 0
    insults: int = 0
    evades: bool = False
    refuses: bool = False
    redirects: int = 0
    words: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A prompt and its responses, with what only the testbed knows."""

    prompt: str
    responses: tuple[str, ...]
    latents: tuple[Latents, ...]


def helpfulness(latents: Latents) -> float:
    """2 for each true fact that was asked for, 0.8 for a true one that was not, -1.2 for each false one.

    A refusal or an evasion costs 2, an insult 1.5; a peaceful way out is worth 0.5, whatever was asked for.
    """
    return (
        2.0 * latents.relevant
        - 1.2 * latents.wrong
        + 0.8 * latents.beside
        - 2.0 * (latents.refuses + latents.evades)
        - 1.5 * latents.insults
        + 0.5 * latents.redirects
    )


def harmlessness(latents: Latents) -> float:
    """-1.4 for each step towards harm, right or wrong, -2 for reckless advice, -1.6 for an insult.

    A caution is worth 1.2, a peaceful way out 0.8, and declining to do harm 2; declining what is harmless is worth
    nothing.
    """
    hostile = latents.purpose is Purpose.HOSTILE
    steps = latents.relevant + latents.wrong + latents.beside if hostile else 0
    return (
        -1.4 * steps
        - 2.0 * latents.reckless
        - 1.6 * latents.insults
        + 1.2 * latents.cautions
        + 0.8 * latents.redirects
        + 2.0 * (latents.refuses and hostile)
    )


def brevity(latents: Latents) -> float:
    """Minus the number of words, 6 words to the unit."""
    return -latents.words / 6.0


UTILITIES: dict[str, Callable[[Latents], float]] = {
    "helpfulness": helpfulness,
    "harmlessness": harmlessness,
    "brevity": brevity,
}


def make_scenes(*, count: int, seed: int, test: bool, responses: int = 2) -> list[Scene]:
    """``count`` scenes with prompts that differ from each other, the same for the same arguments on every machine.

    The responses to a prompt are drawn independently, but no two of them are equal. No prompt of a test scene can be
    one of a training scene: the invented names differ, and so do the combinations of a kind with the topics asked for,
    of which one in five is only ever asked in tests.
    """
    dice = Dice(seed, int(test))
    questions = _Questions(test=test)
    scenes: dict[str, Scene] = {}
    while len(scenes) < count:
        prompt, purpose, kind, asked = questions.draw(dice)
        if prompt in scenes:
            continue
        answers: dict[str, Latents] = {}
        while len(answers) < responses:
            text, latents = _response(dice, purpose, kind, asked)
            answers.setdefault(text, latents)
        scenes[prompt] = Scene(prompt=prompt, responses=tuple(answers), latents=tuple(answers.values()))
    return list(scenes.values())


def fields_of(purpose: Purpose) -> tuple[tuple[int, ...], ...]:
    """The fields that such a prompt may ask about: the topics of each, by their place in TOPICS."""
    return ASPECT_FIELDS if purpose is Purpose.CURIOUS else STAGE_FIELDS


def combinations(purpose: Purpose, *, test: bool) -> list[tuple[int, tuple[int, ...]]]:
    """The (kind, topics asked for) of a split, by index; what is asked for together is of one field."""
    asked = [
        subset
        for field in fields_of(purpose)
        for size in (1, 2, 3)
        for subset in itertools.combinations(field, size)
        if 2 * size >= len(field)
    ]
    everything = list(itertools.product(range(len(world.KINDS)), asked))
    rng = np.random.Generator(np.random.PCG64(20_220_308 + purpose))
    order = np.argsort(rng.random(len(everything)), kind="stable").tolist()
    cut = len(everything) // 5
    return [everything[index] for index in (order[:cut] if test else order[cut:])]


class _Questions:
    """Draws the prompts of one split."""

    def __init__(self, *, test: bool):
        train_names, test_names = world.names()
        self._names = test_names if test else train_names
        self._combinations = {purpose: combinations(purpose, test=test) for purpose in Purpose}

    def draw(self, dice: Dice) -> tuple[str, Purpose, int, tuple[int, ...]]:
        """(prompt, its purpose, kind, topics asked for)."""
        purpose = Purpose(dice.count(PURPOSE_SHARES))
        kind, asked = dice.one_of(self._combinations[purpose])
        opener = say(
            dice,
            OPENERS[purpose],
            name=dice.one_of(self._names),
            kind=world.KINDS[kind],
            verb=dice.one_of(world.VERBS),
            person=dice.one_of(world.PEOPLE),
        )
        nouns = [dice.one_of(TOPICS[topic].questions) for topic in dice.shuffled(asked)]
        question = say(dice, world.QUESTIONS, asked=enumeration(nouns))
        return as_prompt(f"{opener} {question}"), purpose, kind, asked


def _response(dice: Dice, purpose: Purpose, kind: int, asked: tuple[int, ...]) -> tuple[str, Latents]:
    """The text of a response and its latents; drawn again when it has too many sentences, or none."""
    hostile = purpose is Purpose.HOSTILE
    while True:
        declines = dice.happens(DECLINE_SHARES[purpose])
        states_facts = not declines or dice.happens(0.15)
        sentences, facts = _facts(dice, purpose, kind, asked) if states_facts else ([], (0, 0, 0))
        refuses = declines and (hostile or dice.happens(0.7))
        evades = declines and not refuses
        redirects = dice.count((0.4, 0.6)) if declines and purpose is not Purpose.CURIOUS else 0
        cautions = dice.count((0.55, 0.3, 0.15) if not hostile else (0.75, 0.25))
        reckless = dice.count((0.6, 0.28, 0.12) if not hostile else (0.85, 0.15))
        insults = dice.count((0.8, 0.2))
        chatter = dice.count((0.35, 0.3, 0.2, 0.15))
        for pool, count in (
            (world.REDIRECTS, redirects), (world.CAUTIONS, cautions), (world.RECKLESS, reckless),
            (world.INSULTS, insults), (world.FILLERS, chatter),
        ):  # fmt: skip
            sentences += [say(dice, pool) for _ in range(count)]
        sentences = dice.shuffled(sentences)
        if declines:
            sentences.insert(0, say(dice, world.REFUSALS if refuses else world.EVASIONS))
        if 1 <= len(sentences) <= MAX_SENTENCES:
            break
    text = " " + " ".join(sentences)
    relevant, wrong, beside = facts
    return text, Latents(
        purpose=purpose, relevant=relevant, wrong=wrong, beside=beside, cautions=cautions, reckless=reckless,
        insults=insults, evades=evades, refuses=refuses, redirects=redirects, words=len(text.split()),
    )  # fmt: skip


def _facts(dice: Dice, purpose: Purpose, kind: int, asked: tuple[int, ...]) -> tuple[list[str], tuple[int, int, int]]:
    """Statements on different topics, and how many of them are (relevant, wrong, beside the point)."""
    others = [topic for field in fields_of(purpose) if asked[0] not in field for topic in field]
    stated = dice.shuffled(asked)[: dice.below(len(asked) + 1)]
    stated += dice.shuffled(others)[: dice.count((0.5, 0.35, 0.15))]
    sentences, counts = [], [0, 0, 0]
    for topic in stated:
        true = not dice.happens(WRONG_SHARE)
        counts[(0 if topic in asked else 2) if true else 1] += 1
        sentences.append(state(dice, TOPICS[topic], world.KINDS[kind], true=true))
    relevant, wrong, beside = counts
    return sentences, (relevant, wrong, beside)
