"""What a person sees of a run: a bar on a terminal, a line now and then in a log."""

import math
import sys
import time
from collections.abc import Mapping

import jax
import tqdm
from absl import logging

from rmjax.config import ExperimentConfig

LOG_SECONDS = 30.0


class Progress:
    """The progress of one run, from process 0 alone; a context manager."""

    def __init__(self, *, steps: int, start: int):
        self._steps = steps
        self._first = jax.process_index() == 0
        self._bar = None
        if self._first and sys.stderr.isatty():
            self._bar = tqdm.tqdm(total=steps, initial=start, unit="step", dynamic_ncols=True)
        self._logged = -math.inf
        self._began: tuple[int, float] | None = None  # step and time of the first call: what comes before is compiling

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, step: int, metrics: Mapping[str, float]) -> None:
        """Shows the metrics of a step: at once on a terminal, every 30 seconds (and at the first call) in a log.

        ``tokens_per_second`` may be missing, as it is at the first step of a start.
        """
        shown = {"loss": f"{metrics['loss']:.4f}", "accuracy": f"{metrics['accuracy']:.3f}"}
        rate = metrics.get("tokens_per_second")
        now = time.monotonic()
        self._began = self._began or (step, now)
        if self._bar is not None:
            self._bar.set_postfix(shown if rate is None else {**shown, "tokens/s": f"{rate:,.0f}"}, refresh=False)
            self._bar.update(step - self._bar.n)
        elif self._first and now - self._logged > LOG_SECONDS:
            self._logged = now
            words = " ".join(f"{name} {value}" for name, value in shown.items())
            words += "" if rate is None else f", {rate:.0f} tokens/s"
            logging.info("step %d of %d: %s%s", step, self._steps, words, self._left(step, now))

    def _left(self, step: int, now: float) -> str:
        """How long it will take at the pace so far, validations included; nothing before there is a pace."""
        first, began = self._began or (step, now)
        if step <= first:
            return ""
        return f", {tqdm.tqdm.format_interval((self._steps - step) * (now - began) / (step - first))} left"

    def say(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self._bar is not None:
            self._bar.clear()
        logging.info("%s", text)
        if self._bar is not None:
            self._bar.refresh()


def in_words(metrics: Mapping[str, float]) -> str:
    """Names and values, as commands print them."""
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def warn_of_warmup(config: ExperimentConfig) -> None:
    """Logs it where a run is so short that it never gets to its learning rate."""
    warmup = config.optimizer.warmup_steps
    if config.steps <= warmup:
        logging.warning(
            "all of the %d steps are warmup, so the learning rate never reaches %g; --config.optimizer.warmup_steps=N "
            "takes fewer than %d", config.steps, config.optimizer.learning_rate, warmup,
        )  # fmt: skip
