"""Best of n: of the responses to each prompt, the one with the highest reward."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rmjax.config import OnError
from rmjax.preferences.fields import Fields
from rmjax.scoring import rows
from rmjax.scoring.replaced import Written
from rmjax.scoring.scored_files import FileScorer, RowTask, score_file
from rmjax.scoring.source import Reward, of_head

FIELDS = ("best", "best_index", "best_reward", "rewards")  # what a row gets
WRITTEN = Written(fields=("best_reward",))


def best_of_n(
    scorer: FileScorer,
    source: str,
    target: str,
    *,
    n: int | None = None,
    head: str | None = None,
    on_error: OnError = OnError.DEFAULT,
) -> Counter[str]:
    """Reads rows of ``{"prompt": …, "responses": […]}`` and writes each with its best response.

    A row gets ``best`` (the response as it was), ``best_index``, ``best_reward`` and the ``rewards`` of all responses
    that were compared. Of equal rewards the first is the best. Files, order, memory and rows that can't be scored are
    as in ``score_file``: with ``OnError.SKIP`` such a row comes back with an ``error`` and no best response, be it that
    one response alone has no reward. The best of the others would often be the shortest, and data chosen so biased.

    Args:
      scorer: a ``RewardScorer``, or a server as ``RemoteScorer``.
      source, target: .jsonl or .jsonl.gz files; ``-`` for stdin and stdout.
      n: how many of a row's responses are compared, the first of them; all if not given.
      head: the reward head, of a scorer whose model has several.
      on_error: what happens to a row that can't be scored, or has fewer than n responses.

    Raises:
      FileError, RowError, UserError, NonFiniteRewardsError: as ``score_file``.
    """

    def parse(row: Mapping[str, Any], *, origin: str) -> rows.Request:
        return _parse(row, n, origin=origin)

    def answer(row: Mapping[str, Any], _: rows.Request, rewards: list[Reward | None]) -> dict[str, Any]:
        values = [None if reward is None else of_head(reward, head) for reward in rewards]
        best = first_highest(values)
        if best is None:
            return dict(zip(FIELDS, (None, None, None, values), strict=True))
        return dict(zip(FIELDS, (row["responses"][best], best, values[best], values), strict=True))

    task = RowTask(parse=parse, answer=answer, unanswered=FIELDS[:3], written=WRITTEN)
    return score_file(scorer, source, target, on_error=on_error, task=task)


def first_highest(rewards: Sequence[float | None]) -> int | None:
    """The index of the highest reward, of equal ones the first; None where any is missing, or there is none."""
    known = [reward for reward in rewards if reward is not None]
    return known.index(max(known)) if known and len(known) == len(rewards) else None


def _parse(row: Mapping[str, Any], n: int | None, *, origin: str) -> rows.Request:
    """The request of the first n responses of a row."""
    fields = Fields(row, origin)
    rows.check_free(fields, FIELDS)
    least = n or 1
    right = "a list of at least one response" if least == 1 else f"a list of at least {least} responses"
    if fields.has("messages") or fields.has("response"):
        other = "messages" if fields.has("messages") else "response"
        raise fields.error(other, "wrong field", found="a single response", right=f"'responses', {right}")
    responses = fields.sequence("responses", right=right)
    if len(responses) < least:
        raise fields.error("responses", "too few responses", found=str(len(responses)), right=right)
    return rows.parse_request({**row, "responses": responses[:n]}, origin=origin)
