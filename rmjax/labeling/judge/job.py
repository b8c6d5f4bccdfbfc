"""Labels by an AI judge: both orders of every pair, averaged, with source ``ai``."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from absl import logging

from rmjax.config import ConfigError
from rmjax.errors import ReportedError
from rmjax.labeling.judge.answer import read_answer
from rmjax.labeling.judge.client import FIRST_WAIT_S, PERHAPS_PAID
from rmjax.labeling.judge.question import Question, in_both_orders, question_key, system_message
from rmjax.labeling.judge.report import CostEstimate, JudgeReport, Usage, estimate, position_bias, used
from rmjax.labeling.judge.run import Asked, ask_all
from rmjax.labeling.judge.settings import JudgeSettings
from rmjax.labeling.judge.store import AnswerStore
from rmjax.labeling.judge.votes import Verdict, given_up, settled
from rmjax.labeling.replaced import check_store, judgments, labels_replaced, not_replaced
from rmjax.preferences.record import Comparison, PairKey, Preference, Side, Source, Text
from rmjax.preferences.row_forms import RowDefaults, parse_row
from rmjax.preferences.tasks import compared_pairs
from rmjax.preferences.write import write_preferences

_SHOWN = 20  # pairs left out that are told of one by one


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """One pair to judge: of which preference, with what weight, and the keys of its two questions by the side shown
    first."""

    place: int
    left: int
    right: int
    weight: float
    keys: dict[Side, str]


def label_with_ai(
    preferences: Sequence[Preference],
    settings: JudgeSettings,
    *,
    tell: Callable[[CostEstimate | JudgeReport], None],
    first_wait_s: float = FIRST_WAIT_S,
) -> None:
    """Has the compared pairs of the preferences judged, and writes the labels.

    The judgments that the preferences have are not looked at: they only say which pairs are compared. Each pair is
    asked about in both orders. A label is one comparison with the mean of both probabilities, ``annotator`` the model,
    ``seconds`` those of all its answers and ``judged_at`` the last one's; the file beside it, ``NAME.orders.jsonl``,
    has both orders as comparisons of their own, of half the weight, with ``shown_first``. Utilities stay where the
    dimension does. A pair with a question that stays without an answer is in neither file, and is told of.

    Both files are written whole at the end, and are a function of the tasks and of the stored answers: a run that was
    killed and is started again asks only for what is missing.

    Args:
      preferences: what is to be judged.
      settings: by whom and how.
      tell: is given the estimate before, and the report after, also where an error ended the run, unless it did before
        anything was answered or tried in vain.
      first_wait_s: the longest first wait between two tries.

    Raises:
      UserError: for a store that can't be used, and for what the endpoint would say to every question.
      ConfigError: for an output that holds anything but this model's labels of this dimension from this store, or
        pairs that are not among the preferences'.
      ReportedError: when the endpoint stopped answering, a signal ended the run, or no pair could be judged.
    """
    there, held = _replaced(settings)
    tasks, questions = _planned(preferences, settings)
    if settings.dry_run and not os.path.exists(settings.store_path):
        tell(estimate(questions.values(), pairs=len(tasks), settings=settings))
        return
    with AnswerStore(settings.store_path) as store:
        _check_own(there, store, settings)
        _check_none_lost(held, preferences, tasks, settings)
        unsettled = [key for key in questions if settled(key, store, settings) is None]
        hopeless = {key: reason for key in unsettled if (reason := given_up(key, store, settings)) is not None}
        missing = {key: questions[key] for key in unsettled if key not in hopeless}
        others = {"settled": len(questions) - len(unsettled), "given_up": len(hopeless)}
        tell(estimate(missing.values(), **others, pairs=len(tasks), settings=settings))
        if settings.dry_run:
            return
        asked = ask_all(missing, store, settings, first_wait_s=first_wait_s) if missing else Asked()
        asked.unanswered |= hopeless
        verdicts = {key: settled(key, store, settings) for key in questions}
        made = _labels(preferences, tasks, verdicts, settings)
        if asked.ended_by is None:
            _tell_of_left_out(preferences, tasks, asked)
            _write(preferences, made, settings)
        if asked.ended_by is None or asked.answers or asked.failures:
            every = [read_answer(body, ties=settings.ties) for key in questions for body in store.bodies(key)]
            tell(_report(made, tasks, verdicts, asked, used(every, settings), settings))
    if asked.ended_by is not None:
        raise asked.ended_by
    if not made.averaged:
        raise ReportedError(f"none of {len(tasks)} pairs could be judged; the first: {_first_reason(asked)}")


def _replaced(settings: JudgeSettings) -> tuple[dict[str, tuple[str, str]], dict[str, set[PairKey]]]:
    """The file and the place of labels that would be replaced, by the time at which they were made; the pairs by file.

    ConfigError where they are not of this dimension or not by this model, or their store is missing.
    """
    outputs = (settings.output, settings.orders_path)
    there: dict[str, tuple[str, str]] = {}
    held: dict[str, set[PairKey]] = {}
    for output in outputs:
        for origin, row in labels_replaced(output, Source.AI, dimension=settings.dimension):
            for made in judgments(row, ("annotator", "judged_at")):
                if made[:1] != (settings.model,):
                    who = repr(made[0]) if made else "another labeler"
                    raise not_replaced(output, origin, f"labels by {who}, not {settings.model!r}")
                there.setdefault(made[1], (output, origin))
            old = parse_row(row, origin=origin, defaults=RowDefaults(settings.dimension))
            held.setdefault(output, set()).update(old.pair(one.left, one.right) for one in old.comparisons)
    check_store(outputs, settings.store_path)
    return there, held


def _check_none_lost(
    held: Mapping[str, set[PairKey]], preferences: Sequence[Preference], tasks: Iterable[_Task], settings: JudgeSettings
) -> None:
    """ConfigError where a file that would be replaced has pairs that are not judged now: their labels would be lost."""
    chosen = {preferences[task.place].pair(task.left, task.right) for task in tasks}
    for output, pairs in held.items():
        if lost := len(pairs - chosen):
            raise ConfigError(
                f"--output: {output} is there already, and {lost} of its {len(pairs)} pairs are not among the "
                f"{len(chosen)} that this run would write; right would be a run that chooses them too (a larger "
                f"--limit, the same --tasks and --pairs), or another --output with --store={settings.store_path}, so "
                "that no answer is paid twice"
            )


def _check_own(there: Mapping[str, tuple[str, str]], store: AnswerStore, settings: JudgeSettings) -> None:
    """ConfigError where labels that would be replaced were not made from this store's answers."""
    for time in there.keys() - store.times(settings.model) if there else ():
        right = "another --output, or the --store that belongs to it"
        raise not_replaced(*there[time], f"labels that are not from {settings.store_path}", right)


def _planned(preferences: Sequence[Preference], settings: JudgeSettings) -> tuple[list[_Task], dict[str, Question]]:
    """The pairs, and their questions by key; a pair that comes twice has the same questions."""
    system = system_message(settings.constitution, ties=settings.ties)
    tasks: list[_Task] = []
    questions: dict[str, Question] = {}
    for place, preference in enumerate(preferences):
        for (left, right), weight in compared_pairs(preference.comparisons).items():
            asked = in_both_orders(preference, left, right)
            keys = {
                side: question_key(question, model=settings.model, system=system, logprobs=settings.logprobs)
                for side, question in asked.items()
            }
            questions |= {keys[side]: question for side, question in asked.items()}
            tasks.append(_Task(place=place, left=left, right=right, weight=weight, keys=keys))
    return tasks, questions


@dataclass(frozen=True, kw_only=True, slots=True)
class _Labels:
    """The comparisons of each preference, by its place: one for each pair, and one for each order of each pair.

    ``probabilities`` are those of both orders of each pair, after a number of its prompt.
    """

    averaged: dict[int, list[Comparison]]
    orders: dict[int, list[Comparison]]
    probabilities: list[tuple[int, float, float]]


def _labels(
    preferences: Sequence[Preference],
    tasks: Iterable[_Task],
    verdicts: dict[str, Verdict | None],
    settings: JudgeSettings,
) -> _Labels:
    """The labels of all pairs that have both verdicts."""
    made = _Labels(averaged={}, orders={}, probabilities=[])
    prompts: dict[Text, int] = {}
    for task in tasks:
        there, back = (verdicts[task.keys[side]] for side in (Side.LEFT, Side.RIGHT))
        if there is None or back is None:
            continue
        each = (_label(task, there, Side.LEFT, settings), _label(task, back, Side.RIGHT, settings))
        made.orders.setdefault(task.place, []).extend(each)
        made.averaged.setdefault(task.place, []).append(_averaged(*each))
        prompt = prompts.setdefault(preferences[task.place].prompt, len(prompts))
        made.probabilities.append((prompt, each[0].probability, each[1].probability))
    return made


def _write(preferences: Sequence[Preference], made: _Labels, settings: JudgeSettings) -> None:
    if made.averaged:
        write_preferences(settings.orders_path, _judged(preferences, made.orders, settings))
        write_preferences(settings.output, _judged(preferences, made.averaged, settings))


def _report(
    made: _Labels,
    tasks: Sequence[_Task],
    verdicts: dict[str, Verdict | None],
    asked: Asked,
    all_runs: Usage,
    settings: JudgeSettings,
) -> JudgeReport:
    """What was done, and what the labels come to."""
    judged = len(made.probabilities)
    left_out = sum(any(key in asked.unanswered for key in task.keys.values()) for task in tasks)
    found = [verdict for verdict in verdicts.values() if verdict is not None]
    by_logprobs = sum(verdict.by_logprobs for verdict in found)
    return JudgeReport(
        pairs=len(tasks),
        judged=judged,
        left_out=left_out,
        unfinished=len(tasks) - judged - left_out,
        this_run=used(asked.answers, settings),
        all_runs=all_runs,
        failed_tries=dict(asked.failures),
        perhaps_paid=sum(asked.failures[kind] for kind in PERHAPS_PAID),
        by_logprobs=by_logprobs,
        by_votes=len(found) - by_logprobs,
        position_bias=position_bias(made.probabilities),
        output=settings.output if made.averaged and asked.ended_by is None else None,
    )


def _label(task: _Task, verdict: Verdict, first: Side, settings: JudgeSettings) -> Comparison:
    """One order of a pair as a judgment."""
    return Comparison(
        left=task.left,
        right=task.right,
        probability=verdict.first if first is Side.LEFT else 1 - verdict.first,
        weight=task.weight / 2,
        annotator=settings.model,
        shown_first=first,
        seconds=verdict.seconds,
        judged_at=verdict.judged_at,
    )


def _averaged(there: Comparison, back: Comparison) -> Comparison:
    """Both orders as one judgment, of which neither response was shown first."""
    times = [time for time in (there.judged_at, back.judged_at) if time is not None]
    return dataclasses.replace(
        there,
        probability=(there.probability + back.probability) / 2,
        weight=there.weight + back.weight,
        shown_first=None,
        seconds=round((there.seconds or 0.0) + (back.seconds or 0.0), 3),
        judged_at=max(times),
    )


def _judged(
    preferences: Sequence[Preference], comparisons: dict[int, list[Comparison]], settings: JudgeSettings
) -> Iterator[Preference]:
    for place, made in comparisons.items():
        judged = preferences[place].on(settings.dimension)
        yield dataclasses.replace(judged, comparisons=tuple(made), source=Source.AI)


def _tell_of_left_out(preferences: Sequence[Preference], tasks: Iterable[_Task], asked: Asked) -> None:
    told = 0
    for task in tasks:
        reasons = [asked.unanswered[key] for key in task.keys.values() if key in asked.unanswered]
        if reasons:
            told += 1
            if told <= _SHOWN:
                pair = f"responses {task.left} and {task.right}"
                logging.warning("%s: %s left out: %s", preferences[task.place].origin, pair, reasons[0])
    if told > _SHOWN:
        logging.warning("%d more pairs were left out", told - _SHOWN)


def _first_reason(asked: Asked) -> str:
    return next(iter(asked.unanswered.values()), "there is none")
