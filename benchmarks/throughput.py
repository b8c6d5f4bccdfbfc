"""Training pairs a second of rmjax and of TRL's RewardTrainer: the same model, initial weights, pairs and threads.

    python -m benchmarks.throughput --manual_dir=FOLDER [--models=4x256,8x512]

The pairs are those of HH (helpful-base and harmless-base, train) up to 1200 tokens, by a BPE of 8192 tokens trained
on them. Every side is a process of its own that computes only while it is asked. rmjax meets three sides of TRL's, one
after the other, so that no two of these hold memory at once:

- ``trl``, as it comes, which is with gradient checkpointing;
- ``trl_no_checkpointing``, the same without: faster, and more memory;
- ``trl_grouped``, without it too, and with TRL's sampling that groups by length.

With each it takes turns, window by window. A window of TRL's is so many batches of 16 pairs (twice as many with length
grouping, where they differ more) that stand for the epoch that TRL's own sampler draws
(``benchmarks.representative``), its warm-up the epoch's largest batch, so that its peak memory is that of the epoch. A
window of rmjax's is so many steps of rows that hold 16 pairs on average, over a device for each processor, its warm-up
two steps with the compilation.

One JSON line for each model. ``rmjax``, ``trl``, ``trl_no_checkpointing``, ``trl_grouped``: pairs a second over an
epoch, medians over windows (``benchmarks.sides.pace``); ``ratio…``: to each of TRL's, over the windows that were taken
in turn with it; ``mfu``: the arithmetic that the distinct tokens need (``benchmarks.arithmetic.training_on``) at
rmjax's pace, as a share of ``matmul_gflops``; ``pairs_per_second_at_matmul_rate``: the pace at which it would be 1.
"""

import json
import statistics
from dataclasses import dataclass

from absl import app, flags

from benchmarks import workload
from benchmarks.arithmetic import distinct_tokens, training_on, visible_pairs
from benchmarks.representative import padded_tokens
from benchmarks.sides import PEERS, Answer, Side, pace, say
from benchmarks.trl_options import TrlOptions
from rmjax.batches.lengths import measure
from rmjax.config import ExperimentConfig
from rmjax.training.processors import device_count

_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "HH in the published layout.", required=True)
_MODELS = flags.DEFINE_list("models", list(workload.MODELS), "Which models.")
_WINDOWS = flags.DEFINE_integer("windows", 3, "Windows of each side.")
_STEPS = flags.DEFINE_integer("steps", None, "TRL's steps in a window; by default as many as suit the model.")
_RMJAX_STEPS = flags.DEFINE_integer("rmjax_steps", None, "rmjax's steps in a window; by default likewise.")
_THREADS = flags.DEFINE_integer("threads", 2, "Processors of each side.")
_ROW_LENGTH = flags.DEFINE_integer("row_length", None, "Tokens in a row; chosen from the data if not given.")
_ROWS = flags.DEFINE_integer("rows", None, "Rows in a step; as many as hold 16 pairs on average if not given.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the weights, the shuffling and the choice of windows.")
_MATMUL_SIZE = 2048


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Of a window: TRL's, and rmjax's."""

    trl: int
    rmjax: int


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to run TRL. ``gradient_checkpointing`` None is what it does by default."""

    gradient_checkpointing: bool | None = None
    grouped: bool = False

    def steps(self, plain: int) -> int:
        """In a window, where the plain variants have so many."""
        return 2 * plain if self.grouped else plain


# On two cores a step of TRL's takes about 7 seconds in the one model and 30 in the other.
STEPS = {"4x256": Steps(trl=4, rmjax=8), "8x512": Steps(trl=2, rmjax=4)}
VARIANTS = {
    "trl": Variant(),
    "trl_no_checkpointing": Variant(gradient_checkpointing=False),
    "trl_grouped": Variant(gradient_checkpointing=False, grouped=True),
}


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """The windows of rmjax and of a side of TRL's, taken in turn, and the matmul rates between them."""

    rmjax: list[Answer]
    trl: list[Answer]
    rates: list[float]

    @property
    def ratio(self) -> float:
        return pace(self.rmjax) / pace(self.trl)


def peak(windows: list[Answer]) -> float:
    """GiB."""
    return max(entry["peak_gib"] for entry in windows)


def make_config(name: str, pairs: workload.Pairs) -> ExperimentConfig:
    """rmjax's experiment, with TRL's optimizer."""
    config = workload.trained_as_trl(name, seed=_SEED.value)
    devices = device_count(_THREADS.value)
    config.batch = workload.choose_batch(pairs, _ROW_LENGTH.value, _ROWS.value, devices=devices)
    config.text.max_prompt_tokens = config.text.max_response_tokens = workload.LONGEST
    return config


def steps_for(name: str) -> Steps:
    """Those of the flags, else those that suit the model."""
    return Steps(trl=_STEPS.value or STEPS[name].trl, rmjax=_RMJAX_STEPS.value or STEPS[name].rmjax)


def peer_options(variant: Variant, steps: int) -> TrlOptions:
    """What TRL's side is told."""
    return TrlOptions(
        grouped=variant.grouped,
        windows=_WINDOWS.value,
        steps=steps,
        total_steps=1 + _WINDOWS.value * steps,
        pairs_per_step=workload.PAIRS_PER_STEP,
        gradient_checkpointing=variant.gradient_checkpointing,
        seed=_SEED.value,
        threads=_THREADS.value,
    )


def meet(name: str, own: Side, stage: workload.Stage, steps: Steps) -> Meeting:
    """Takes turns with a side of TRL's, from rmjax's window to rmjax's window."""
    variant = VARIANTS[name]
    options = peer_options(variant, variant.steps(steps.trl))
    found = Meeting(rmjax=[], trl=[], rates=[])
    with stage.side("benchmarks.peer_trl", options.to_json(), python=PEERS) as peer:
        _timed(f"{stage.folder.name} {name}, warm-up", peer, 1)
        for _ in range(_WINDOWS.value):
            found.rmjax.append(_timed(f"{stage.folder.name} rmjax", own, steps.rmjax))
            found.rates.append(own.ask(matmul=_MATMUL_SIZE)["flops"])
            found.trl.append(_timed(f"{stage.folder.name} {name}", peer, variant.steps(steps.trl)))
        found.rmjax.append(_timed(f"{stage.folder.name} rmjax", own, steps.rmjax))
    return found


def _timed(what: str, side: Side, steps: int) -> Answer:
    window = side.ask(steps=steps)
    say(f"{what}: {pace([window]):.2f} pairs a second, {window['busy']:.2f} processors busy, {window['seconds']:.1f} s")
    return window


def summary(name: str, config: ExperimentConfig, pairs: workload.Pairs, found: dict[str, Meeting]) -> Answer:
    """The line of a model."""
    own = [window for meeting in found.values() for window in meeting.rmjax]
    rate = statistics.median(rate for meeting in found.values() for rate in meeting.rates)
    lengths = measure(pairs.tokenized())
    flops = training_on(config.model, lengths) / len(pairs)
    line: Answer = {"model": name, "rmjax": pace(own)}
    line |= {side: pace(meeting.trl) for side, meeting in found.items()}
    line |= {side.replace("trl", "ratio", 1): meeting.ratio for side, meeting in found.items()}
    line |= {"peak_gib": peak(own)} | {f"{side}_peak_gib": peak(meeting.trl) for side, meeting in found.items()}
    line |= {
        "mfu": flops * pace(own) / rate,
        "matmul_gflops": rate / 1e9,
        "pairs_per_second_at_matmul_rate": rate / flops,
        "gflops_per_pair": flops / 1e9,
        "pairs": len(pairs),
        "distinct_tokens_per_pair": distinct_tokens(lengths) / len(pairs),
        "visible_pairs_per_pair": visible_pairs(lengths) / len(pairs),
        "padded_tokens_per_pair": float(padded_tokens(pairs.lengths, workload.PAIRS_PER_STEP).sum() / len(pairs)),
    }
    for side, meeting in found.items():
        trained = sum(window["pairs"] for window in meeting.trl)
        line[f"{side}_tokens_per_pair"] = sum(window["padded_tokens"] for window in meeting.trl) / trained
        line[f"{side}_gradient_checkpointing"] = meeting.trl[0]["gradient_checkpointing"]
    line |= {"row_length": config.batch.row_length, "rows": config.batch.rows}
    line["rmjax_pairs_per_step"] = sum(window["pairs"] for window in own) / sum(window["steps"] for window in own)
    return line | {"windows": _WINDOWS.value, "threads": _THREADS.value}


def main(_: list[str]) -> None:
    hh = workload.open_hh(_MANUAL_DIR.value, seed=_SEED.value, threads=_THREADS.value)
    for name in _MODELS.value:
        config = make_config(name, hh.pairs)
        steps = steps_for(name)
        with workload.set_stage(hh, name, config) as stage, stage.side("benchmarks.side_training") as own:
            _timed(f"{name} rmjax, warm-up", own, 2)
            found = {variant: meet(variant, own, stage, steps) for variant in VARIANTS}
        print(json.dumps(summary(name, config, hh.pairs, found)), flush=True)


if __name__ == "__main__":
    app.run(main)
