"""Rewards of single responses from a trained model."""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from absl import logging
from etils import epath
from jaxtyping import Float32

from rmjax.batches.contract import EncodedGroup, TextContract
from rmjax.batches.tokenize import tokenize_responses, tokenized_responses, warn_of_cut_prompts
from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.config import OnError
from rmjax.evaluation.rewards import RewardComputer
from rmjax.preferences.files import decode_line
from rmjax.preferences.record import Message, RowError
from rmjax.scoring import rows
from rmjax.training.trained import TrainedModel, load_trained

Reward = float | dict[str, float]
Prompt = str | Sequence[Message | Mapping[str, str]]

ROWS_AT_ONCE = 1024
CHARACTERS_AT_ONCE = 8_000_000  # what bounds the memory where rows are long


class RewardScorer:
    """Scores responses one at a time: a reward depends on the prompt, the response and the model, on nothing else.

    Of a prompt that is longer than the model's limit the last tokens are read; a warning says so once a call.
    The reward of a model with one reward head is a float, that of one with several a dict by the head's name.
    """

    def __init__(self, trained: TrainedModel):
        self.trained = trained
        self.contract: TextContract = trained.contract
        self._heads = trained.config.model.reward_heads
        self._compute = RewardComputer(trained.model, trained.config)

    @classmethod
    def from_workdir(cls, workdir: epath.PathLike, step: int | None = None) -> "RewardScorer":
        """The scorer of a run's best checkpoint, or of that of a step."""
        return cls(load_trained(workdir, step))

    def score(self, prompt: Prompt, responses: Sequence[Prompt]) -> list[Reward]:
        """The reward of each response to the prompt.

        Args:
          prompt: text, or messages as ``Message`` or ``{"role": …, "content": …}``.
          responses: texts. The response to messages may be messages too, the first of them the assistant's.

        Raises:
          RowError: for a text that the model's contract can't take, such as a response longer than its limit.
        """
        if isinstance(responses, str):
            raise TypeError("responses is a string; it must be a list of responses")
        row = {"prompt": _plain(prompt), "responses": [_plain(response) for response in responses]}
        return self.score_many([rows.parse_request(row, origin="score")])[0]

    def score_many(self, requests: Sequence[rows.Request], *, origins: Sequence[str] = ()) -> list[list[Reward]]:
        """The rewards of many requests in one go, in their order; the first fault is raised."""
        scored, cut = self.score_and_count(requests, origins=origins, on_error=OnError.ERROR)
        self.warn_of_cut(cut)
        return [[reward for reward in found if reward is not None] for found in scored]

    def score_and_count(
        self, requests: Sequence[rows.Request], *, origins: Sequence[str], on_error: OnError
    ) -> tuple[list[list[Reward | None]], int]:
        """The same without a warning: (the rewards, how many prompts were cut).

        With ``OnError.SKIP`` the reward is None of each response that the contract can't take.
        """
        pairs = [(request.prompt, request.responses) for request in requests]
        tokenized = tokenize_responses(pairs, self.contract, origins=origins, on_error=on_error)
        return self._computed(tokenized, [len(request.responses) for request in requests]), tokenized.cut_prompts

    def score_encoded(self, groups: Sequence[EncodedGroup]) -> list[list[Reward]]:
        """The rewards of conversations that ``contract.encode_many`` has made, all in one go; a fault is raised."""
        tokenized = tokenized_responses(groups, on_error=OnError.ERROR)
        found = self._computed(tokenized, [len(group.conversations) for group in groups])
        return [[reward for reward in rewards if reward is not None] for rewards in found]

    @property
    def tokens_at_once(self) -> int:
        """The most tokens that are computed together."""
        return self._compute.tokens_at_once

    def warm_up(self) -> None:
        """Compiles all that scoring may need, so that no request waits for it."""
        self._compute.warm_up(self.trained.params)

    def warn_of_cut(self, cut: int, name: str = "scoring") -> None:
        """Logs that so many of the prompts were longer than the model's limit; nothing where none was."""
        warn_of_cut_prompts(name, cut, self.contract.max_prompt_tokens)

    def fault(self, request: rows.Request, origin: str) -> RowError | None:
        """What the text contract has against a request; None if nothing."""
        try:
            self.contract.encode(request.prompt, request.responses, origin=origin)
        except RowError as error:
            return error
        return None

    def _computed(self, tokenized: TokenizedPreferences, counts: Sequence[int]) -> list[list[Reward | None]]:
        """The rewards of requests with so many responses each; None where a response was skipped."""
        values = self._compute(self.trained.params, tokenized)
        found: list[list[Reward | None]] = [[None] * count for count in counts]
        for (request, response), value in zip(tokenized.response_origin.tolist(), values, strict=True):
            found[request][response] = self._reward(value)
        return found

    def _reward(self, value: Float32[np.ndarray, "heads"]) -> Reward:
        if len(self._heads) > 1:
            return dict(zip(self._heads, value.tolist(), strict=True))
        return float(value[0])


@runtime_checkable
class FileScorer(Protocol):
    """What the rows of files are scored by: a ``RewardScorer``, or what stands for one elsewhere."""

    def score_and_count(
        self, requests: Sequence[rows.Request], *, origins: Sequence[str], on_error: OnError
    ) -> tuple[list[list[Reward | None]], int]: ...

    def warn_of_cut(self, cut: int, name: str = "scoring") -> None: ...

    def fault(self, request: rows.Request, origin: str) -> RowError | None: ...


def rewards_of(_: Mapping[str, Any], request: rows.Request, rewards: list[Reward | None]) -> dict[str, Any]:
    """The fields that scoring adds to a row."""
    return {"reward": rewards[0]} if request.single else {"rewards": rewards}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RowTask:
    """What is done with each row of a file.

    Attributes:
      parse: what a row asks; RowError for one that can't be used.
      answer: of a row, what it asks and its rewards the fields that are added to it.
      unanswered: the fields, all null, of a row that can't be used; ``error`` comes besides.
    """

    parse: Callable[..., rows.Request] = rows.parse_request
    answer: Callable[[Mapping[str, Any], rows.Request, list[Reward | None]], dict[str, Any]] = rewards_of
    unanswered: tuple[str, ...] = ("reward",)


SCORING = RowTask()


def score_file(
    scorer: FileScorer, source: str, target: str, *, on_error: OnError = OnError.DEFAULT, task: RowTask = SCORING
) -> Counter[str]:
    """Scores the rows of a .jsonl or .jsonl.gz file (``-``: stdin) into another (``-``: stdout), in order.

    Rows are taken in chunks, so memory stays bounded however long the file is; a target file appears whole or not at
    all. A row that can't be scored is an error. With ``OnError.SKIP`` it stays in its place, so nothing is lost and
    lines still match: it comes back with ``reward`` null (in ``rewards``, null for each such response) and the
    message in ``error``. A line that isn't a JSON object, or is blank between rows, comes back as
    ``{"line": its text, …}`` with these two, and a row that has fields of these names already as
    ``{"row": the row, …}``. With another task than scoring the fields are that task's.

    Returns:
      How many rows were scored, under ``"scored"``, and how many were not, by kind of fault.

    Raises:
      FileError, RowError: for a file or a row that can't be read.
      NonFiniteRewardsError: where a reward is NaN or infinite, whatever ``on_error`` is: the model is at fault then.
    """
    counts: Counter[str] = Counter()
    cut, began = 0, time.monotonic()
    with rows.opened_output(target) as stream:
        for chunk in _chunks(rows.read_lines(source)):
            cut += _score_chunk(scorer, chunk, stream, on_error, counts, task)
    scorer.warn_of_cut(cut, "stdin" if source == rows.STANDARD else source)
    for kind, count in sorted(counts.items()):
        if kind != "scored":
            logging.warning("%d rows without a reward: %s", count, kind)
    logging.info("scored %d rows in %.1f s", counts["scored"], time.monotonic() - began)
    return counts


def _score_chunk(
    scorer: FileScorer, chunk: list[tuple[str, bytes]], stream: rows.ByteSink, on_error: OnError,
    counts: Counter[str], task: RowTask,
) -> int:  # fmt: skip
    """Writes the rows of a chunk with their rewards, and returns how many prompts were cut."""
    parsed = [_parsed(line, origin, on_error, task) for origin, line in chunk]
    good = [
        (entry[1], origin)
        for entry, (origin, _) in zip(parsed, chunk, strict=True)
        if isinstance(entry[1], rows.Request)
    ]
    requests, origins = [request for request, _ in good], [origin for _, origin in good]
    scored, cut = scorer.score_and_count(requests, origins=origins, on_error=on_error)
    found = iter(scored)
    for (row, request), (origin, _) in zip(parsed, chunk, strict=True):
        if isinstance(request, RowError):
            counts[request.kind] += 1
            answer = {**dict.fromkeys(task.unanswered), "error": str(request)}
            row = {"row": row} if answer.keys() & row.keys() else row
        else:
            rewards = next(found)
            answer = task.answer(row, request, rewards)
            fault = scorer.fault(request, origin) if None in rewards else None
            counts["scored" if fault is None else fault.kind] += 1
            answer |= {} if fault is None else {"error": str(fault)}
        stream.write(rows.to_line(row | answer))
    stream.flush()
    return cut


def _parsed(
    line: bytes, origin: str, on_error: OnError, task: RowTask
) -> tuple[dict[str, Any], rows.Request | RowError]:
    """(the row, what it asks or what is wrong with it); a fault is raised unless faults are skipped."""
    row: dict[str, Any] = {"line": line.decode(errors="backslashreplace")}
    try:
        row = decode_line(line, origin, writable=True)
        return row, task.parse(row, origin=origin)
    except RowError as error:
        if on_error is not OnError.SKIP:
            raise
        return row, error


def _chunks(lines: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    chunk, size = [], 0
    for origin, line in lines:
        chunk.append((origin, line))
        size += len(line)
        if len(chunk) >= ROWS_AT_ONCE or size >= CHARACTERS_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _plain(text: Any) -> Any:
    """Text or messages in the form that rows have."""
    if isinstance(text, str):
        return text
    return [dataclasses.asdict(entry) if isinstance(entry, Message) else entry for entry in text]
