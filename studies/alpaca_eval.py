"""AlpacaEval's judge: what it prefers of two answers at which lengths, and what a model learns from it."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from etils import epath
from scipy.special import expit, logit

from experiments import hh_study_base
from rmjax.config import OnError
from rmjax.errors import UserError
from rmjax.evaluation.pairwise import accuracy_by_quartile, correctness, length_controlled_accuracy
from rmjax.intervals import wilson_interval
from rmjax.labeling.report.biases import log_ratio
from rmjax.labeling.report.length_control import length_control
from rmjax.labeling.rule import characters, contents
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Comparison, Preference, Source, Text
from studies.models import trained_on
from studies.study import Study, numbers

FILE = "annotations.json.gz"
JUDGE, MODEL = "AlpacaEval's judge", "a model of AlpacaEval's judge"
LONGEST, LEAST_PROSE = 1400, 0.85  # bytes, and the share of letters and spaces: the model's limit is beyond that
TEST_SHARE = 0.25  # of the instructions
PAIRS_OF_AN_INSTRUCTION = 5  # to train on; of eleven answers, so many pairs have none in common
_SURE = 1e-9  # a judge's probabilities of exactly 0 and 1 are taken for this much less
_DEFAULTS = RowDefaults(dimension="helpfulness", source=Source.AI)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A generator's answer to an instruction, and the probability that the judge prefers it to the reference's."""

    response: Text
    reference: Text
    probability: float


Answers = Mapping[str, Mapping[Text, Answer]]  # by generator and instruction


def read_answers(folder: epath.PathLike) -> Answers:
    """All generators of the folder; UserError where there are none."""
    files = sorted(epath.Path(folder).glob(f"*/{FILE}"))
    if len(files) < 2:
        raise UserError(
            f"--alpaca_eval is {str(folder)!r}, with {len(files)} files GENERATOR/{FILE}; right would be two or more: "
            "the annotations.json of weighted_alpaca_eval_gpt4_turbo in the results of github.com/tatsu-lab/alpaca_eval"
        )
    found = {}
    for file in files:
        rows = read_preferences(str(file), defaults=_DEFAULTS, on_error=OnError.SKIP)
        found[file.parent.name] = {
            row.prompt: Answer(
                response=row.responses[1],
                reference=row.responses[0],
                probability=1 - row.comparisons[0].probability,
            )
            for row in rows
        }
    return found


def measure_alpaca_eval(study: Study, folder: epath.PathLike, seeds: Sequence[int]) -> None:
    """Win rates as they are and at equal length, and models that are trained on what the judge's preferences imply.

    Models have the settings of experiments/hh_study_base.py, whatever the study's are; a seed is that of the weights
    and of which instructions are tested.
    """
    answers = read_answers(folder)
    _win_rates(study, answers)
    for seed in seeds:
        _model(study, answers, seed)


def _win_rates(study: Study, answers: Answers) -> None:
    places: dict[Text, int] = {}
    rows = [
        (
            answer.probability,
            characters(answer.response),
            characters(answer.reference),
            rival,
            places.setdefault(prompt, len(places)),
        )
        for rival, own in enumerate(answers.values())
        for prompt, answer in own.items()
    ]
    probability, one, other, rival, prompt = (np.array(column) for column in zip(*rows, strict=True))
    length = log_ratio(one.astype(np.float64), other.astype(np.float64))
    found = length_control(probability, length, rival, prompt)
    slope = numbers(found.slope)
    for place, (name, fair) in enumerate(zip(answers, found.at_equal_length, strict=True)):
        own = rival == place
        raw = wilson_interval(probability[own], prompt[own])
        length_of = [characters(answer.response) for answer in answers[name].values()]
        study.add(
            kind=JUDGE,
            name=name,
            slope=slope,
            characters=float(np.mean(length_of)),
            raw=numbers(raw),
            controlled=numbers(fair),
        )


def implied(prompt: Text, answers: Sequence[Answer], pairs: Sequence[tuple[int, int]]) -> Preference:
    """What the judge's preferences of two answers to the same third say of the two.

    By Bradley and Terry the logit of one to the other is the difference of their logits to the third.
    """
    logits = logit(np.clip([answer.probability for answer in answers], _SURE, 1 - _SURE))
    return Preference(
        prompt=prompt,
        responses=tuple(answer.response for answer in answers),
        comparisons=tuple(
            Comparison(left=a, right=b, probability=float(expit(logits[a] - logits[b]))) for a, b in pairs
        ),
        dimension=_DEFAULTS.dimension,
        source=_DEFAULTS.source,
    )


def split(answers: Answers, seed: int) -> tuple[list[Preference], list[Preference]]:
    """To train on, pairs of an instruction that have no answer in common; to test on, all pairs of other ones."""
    rng = np.random.default_rng(seed)
    instructions = list(dict.fromkeys(itertools.chain.from_iterable(answers.values())))
    tested = set(rng.permutation(len(instructions))[: round(TEST_SHARE * len(instructions))].tolist())
    train, test = [], []
    for place, prompt in enumerate(instructions):
        own = {answer.response: answer for found in answers.values() if (answer := found.get(prompt)) is not None}
        kept = [answer for answer in own.values() if is_short_prose(answer.response)]
        if len(kept) < 2:
            continue
        if place in tested:
            test.append(implied(prompt, kept, [*itertools.combinations(range(len(kept)), 2)]))
            continue
        order = rng.permutation(len(kept)).tolist()[: 2 * PAIRS_OF_AN_INSTRUCTION]
        for a, b in zip(order[0::2], order[1::2], strict=False):
            train.append(implied(prompt, [kept[a], kept[b]], [(0, 1)]))
    return train, test


def is_short_prose(text: Text) -> bool:
    """Whether hh_study_base's model can read it: not too long, and neither code nor a table of numbers."""
    said = "".join(contents(text))
    prose = sum(character.isalpha() or character.isspace() for character in said)
    return 0 < len(said.encode()) <= LONGEST and prose >= LEAST_PROSE * len(said)


def _model(study: Study, answers: Answers, seed: int) -> None:
    train, test = split(answers, seed)
    config = hh_study_base.get_config()
    config.seed = seed
    model = trained_on(train, config, study.folder / f"alpaca_eval_{seed}")
    rewards = [found[:, 0].astype(np.float64) for found in model.rewards(test)]
    lengths = [np.array([float(characters(text)) for text in record.responses]) for record in test]
    pairs = {"train": len(train), "test": sum(len(record.comparisons) for record in test), "instructions": len(test)}
    study.add(kind=MODEL, name="the model", seed=seed, **pairs, **accuracies(test, rewards, lengths))
    by_length = accuracies(test, lengths, lengths)
    # How often it prefers the longer, and what it has where length is controlled, are so by definition.
    known = {name: by_length[name] for name in ("accuracy", "by_quarter")}
    study.add(kind=MODEL, name="the longer wins", seed=seed, **pairs, **known)


def accuracies(
    test: Sequence[Preference], values: Sequence[np.ndarray], lengths: Sequence[np.ndarray]
) -> dict[str, list[float]]:
    """How often the answer of higher value is the one that the judge prefers. Ties and equal lengths are left out.

    ``controlled`` is ``rmjax.evaluation.pairwise.length_controlled_accuracy``, ``by_quarter`` the accuracy by the
    difference in length, the least first, and ``longer`` how often the longer answer has the higher value.
    """
    found = np.array(
        [
            (values_of[c.left] - values_of[c.right], length[c.left] - length[c.right], c.probability, number)
            for number, (record, values_of, length) in enumerate(zip(test, values, lengths, strict=True))
            for c in record.comparisons
        ]
    )
    found = found[(found[:, 1] != 0) & (found[:, 2] != 0.5)]
    value, length, probability = found[:, :3].T
    prompt = found[:, 3].astype(np.int64)
    is_longer = (length > 0).astype(np.float64)
    raw, follows = (wilson_interval(correctness(value, wanted), prompt) for wanted in (probability, is_longer))
    return {
        "accuracy": numbers(raw),
        "controlled": numbers(length_controlled_accuracy(value, probability, length, prompt)),
        "by_quarter": accuracy_by_quartile(value, probability, np.abs(length)),
        "longer": numbers(follows),
    }
