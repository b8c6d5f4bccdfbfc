"""The reward as a function, for the trainers that optimise a policy against it.

``reward_function`` gives TRL's GRPO one of its ``reward_funcs``, and verl its ``compute_score``:

    trainer = GRPOTrainer(model=…, reward_funcs=rmjax.reward_function("http://127.0.0.1:8000"), …)

With a URL it needs no jax: neither this module nor what it imports does, until a workdir is given.
"""

import enum
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rmjax.errors import UserError
from rmjax.model_config import ComputeDtype
from rmjax.scoring.client import RewardClient
from rmjax.scoring.source import PromptGroup, RewardSource, TooLong, check_of_server

_LOG = logging.getLogger(__name__)


class OnTooLong(enum.Enum):
    """What happens to a completion that has more tokens than the model takes."""

    SKIP = "skip"  # it gets no reward; a warning counts such completions
    ERROR = "error"


class CompletionTooLongError(UserError):
    """A completion that has more tokens than the model takes."""


class RewardFunction:
    """A reward as TRL, verl and others call it; ``reward_function`` makes one.

    Completions of one prompt are scored together, so that its tokens are computed once.

    Attributes:
      __name__: by which TRL logs the rewards (``rewards/NAME/mean``).
      too_long: how many completions had no reward so far, since they were too long.
    """

    def __init__(
        self, source: RewardSource, *, name: str, on_too_long: OnTooLong, too_long_reward: float | None,
        prompt_field: str,
    ):  # fmt: skip
        self.__name__ = name
        self.too_long = 0
        self._source = source
        self._on_too_long = on_too_long
        self._too_long_reward = too_long_reward
        self._prompt_field = prompt_field

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        *,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """The reward of each completion, in their order: the signature of TRL's ``reward_funcs``.

        Args:
          prompts: for each completion its prompt, texts or lists of messages (``{"role": …, "content": …}``).
          completions: texts where the prompts are; else messages, the first the assistant's, or its text.
          completion_ids: not used: a policy's tokens aren't those of the reward model.
          log_metric: TRL's; it is told how many of the completions were too long.
          columns: the data set's other columns, and what else TRL gives; not used.

        Raises:
          CompletionTooLongError: with ``OnTooLong.ERROR``.
          UserError, ServerFailedError: for prompts or completions that can't be scored, and a server that fails.
        """
        groups, places = grouped(prompts, completions)
        rewards: list[float | None] = [None] * len(prompts)
        faults = []
        for found, where in zip(self._source.rewards(groups), places, strict=True):
            for reward, place in zip(found, where, strict=True):
                if isinstance(reward, TooLong):
                    faults.append(f"completions[{place}]: {reward}")
                    rewards[place] = self._too_long_reward
                else:
                    rewards[place] = reward
        self._report(faults, len(rewards))
        if log_metric is not None:
            log_metric(f"{self.__name__}/too_long", float(len(faults)))
        return rewards

    def compute_score(
        self, data_source: Any, solution_str: str, ground_truth: Any = None,
        extra_info: Mapping[str, Any] | None = None, **_: Any,
    ) -> float:  # fmt: skip
        """The reward of one response: the signature of verl's custom reward functions.

        verl doesn't hand the prompt over: it must be in ``extra_info``, which is a column of the data, under the name
        ``prompt_field``. The other arguments aren't used.
        """
        return self.compute_scores([data_source], [solution_str], [ground_truth], [extra_info])[0]

    def compute_scores(
        self, data_sources: Iterable[Any], solution_strs: Sequence[str], ground_truths: Iterable[Any] | None = None,
        extra_infos: Iterable[Mapping[str, Any] | None] | None = None, **_: Any,
    ) -> list[float]:  # fmt: skip
        """The same for many at once, as verl's batch reward manager calls it (the columns may be numpy's)."""
        infos = [None] * len(solution_strs) if extra_infos is None else extra_infos
        prompts = [self._prompt_in(info, place) for place, info in enumerate(infos)]
        rewards = self(prompts, solution_strs)
        if None in rewards:
            raise CompletionTooLongError(
                f"solution_strs[{rewards.index(None)}] is too long for the model, and verl takes no None; give "
                "reward_function a number as too_long_reward"
            )
        return [reward for reward in rewards if reward is not None]

    def _prompt_in(self, info: Mapping[str, Any] | None, place: int) -> Any:
        if info is None or self._prompt_field not in info:
            found = "None" if info is None else f"the fields {', '.join(map(repr, info)) or '(none)'}"
            raise UserError(
                f"extra_info of solution_strs[{place}]: found {found}; right would be the prompt in a field "
                f"{self._prompt_field!r}, put there when the data are prepared (prompt_field names another)"
            )
        return info[self._prompt_field]

    def _report(self, faults: list[str], count: int) -> None:
        if not faults:
            return
        if self._on_too_long is OnTooLong.ERROR:
            raise CompletionTooLongError(f"{len(faults)} of {count} completions are too long, the first: {faults[0]}")
        self.too_long += len(faults)
        _LOG.warning(
            "%s: %d of %d completions are too long for the model and get the reward %s (%d so far); the first: %s",
            self.__name__, len(faults), count, self._too_long_reward, self.too_long, faults[0],
        )  # fmt: skip


def reward_function(
    source: str | os.PathLike[str],
    *,
    step: int | None = None,
    head: str | None = None,
    normalized: bool = False,
    compute_dtype: ComputeDtype = ComputeDtype.FLOAT32,
    on_too_long: OnTooLong = OnTooLong.SKIP,
    too_long_reward: float | None = None,
    name: str = "rmjax_reward",
    prompt_field: str = "prompt",
    concurrency: int = 16,
    timeout_s: float = 120.0,
    patience_s: float = 600.0,
) -> RewardFunction:
    """The reward of a run or of a running server as a function that stage two calls.

    A completion that is too long for the model is no reason to end a run of days, and none to be silent: by default its
    reward is None, which TRL takes as "this function says nothing here" (the completion then moves nothing, unless
    other functions judge it), with a warning that counts such completions at each call.

    For a workdir, jax takes three quarters of the GPU's memory from the trainer in the same process, unless the
    environment has ``XLA_PYTHON_CLIENT_PREALLOCATE=false`` or a smaller ``XLA_PYTHON_CLIENT_MEM_FRACTION``.

    Args:
      source: the workdir of a run, which is then scored in this process, or the URL of ``python -m rmjax.serve``, as
        ``http://127.0.0.1:8000``; its API key is in the environment variable ``RMJAX_API_KEY``.
      step: of a workdir, the checkpoint; the best by ``config.best_by`` if not given.
      head: the reward head; needed where the model has several.
      normalized: gives rewards in standard deviations from the mean of those of the validation data.
      compute_dtype: of a workdir, as ``RewardScorer.from_workdir`` has it.
      on_too_long: what happens to a completion that has more tokens than the model takes.
      too_long_reward: what it gets in place of a reward; verl needs a number.
      name: under which TRL logs the rewards.
      prompt_field: where in verl's ``extra_info`` the prompt is.
      concurrency, timeout_s, patience_s: of a server, as ``RewardClient`` has them.

    Raises:
      UserError: for options that don't fit the source or the model.
      WorkdirError, ConfigError, TokenizerError, CheckpointError: as ``load_trained``.
    """
    place = os.fspath(source)
    rewards: RewardSource
    if place.startswith(("http://", "https://")):
        check_of_server(place, step=step, compute_dtype=compute_dtype)
        rewards = RewardClient(
            url=place, head=head, normalized=normalized, concurrency=concurrency, timeout_s=timeout_s,
            patience_s=patience_s,
        )  # fmt: skip
    else:
        from rmjax.scoring.in_process import ScorerRewards  # here alone: these import jax
        from rmjax.scoring.scorer import RewardScorer

        scorer = RewardScorer.from_workdir(place, step, normalized=normalized, compute_dtype=compute_dtype)
        rewards = ScorerRewards(scorer, head)
    return RewardFunction(
        rewards, name=name, on_too_long=on_too_long, too_long_reward=too_long_reward, prompt_field=prompt_field
    )


def grouped(prompts: Sequence[Any], completions: Sequence[Any]) -> tuple[list[PromptGroup], list[list[int]]]:
    """The completions by their prompts, each of which comes once, and where they were."""
    if len(prompts) != len(completions):
        raise UserError(f"there are {len(prompts)} prompts and {len(completions)} completions; right is one for each")
    plain = [_plain(prompt) for prompt in prompts]
    places: dict[str, list[int]] = {}
    for place, prompt in enumerate(plain):
        places.setdefault(json.dumps(prompt, sort_keys=True), []).append(place)
    groups = [
        PromptGroup(
            prompt=plain[where[0]],
            responses=tuple(_plain(completions[place]) for place in where),
            origin=f"prompts[{where[0]}]",
        )
        for where in places.values()
    ]
    return groups, list(places.values())


def _plain(text: Any) -> Any:
    """Text, or messages as a list of objects, which Parquet gives as an array; without the fields that are null in it,
    since a data set's messages all have the fields that any has."""
    if isinstance(text, str):
        return text
    return [{name: value for name, value in message.items() if value is not None} for message in text]
