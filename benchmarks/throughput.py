"""Training pairs a second of rmjax and of TRL's RewardTrainer: the same model, initial weights, pairs and threads.

    python -m benchmarks.throughput --manual_dir=FOLDER [--models=4x256,8x512] [--windows=5] [--steps=4]

The pairs are those of HH (helpful-base and harmless-base, train) up to 1200 tokens, by a BPE of 8192 tokens trained
on them. Every side is a process of its own that computes only while it is asked; in each round rmjax, TRL as it comes
and TRL with its length grouping take their turn, and rmjax once more at the end. A window of TRL's is ``--steps``
batches of 16 pairs (twice as many with length grouping, where they differ more) that stand for the epoch that TRL's own
sampler draws (``benchmarks.representative``), its warm-up the epoch's largest batch, so that its peak memory is that of
the epoch. A window of rmjax's is ``--rmjax_steps`` steps
of rows that hold 16 pairs on average, its warm-up two steps with the compilation. Figures are medians over windows.

One JSON line for each model. ``rmjax``, ``trl``, ``trl_grouped``: pairs a second; ``mfu``: the arithmetic that the
distinct tokens need (``benchmarks.arithmetic.training_on``) at rmjax's pace, as a share of ``matmul_gflops``;
``pairs_per_second_at_matmul_rate``: the pace at which that share would be 1.
"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from benchmarks import workload
from benchmarks.arithmetic import distinct_tokens, training_on, visible_pairs
from benchmarks.representative import padded_tokens
from benchmarks.sides import PEERS, Answer, Side, say, use_threads
from rmjax.batches.lengths import measure
from rmjax.config import ExperimentConfig

_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "HH in the published layout.", required=True)
_MODELS = flags.DEFINE_list("models", list(workload.MODELS), "Which models.")
_WINDOWS = flags.DEFINE_integer("windows", 5, "Windows of each side.")
_STEPS = flags.DEFINE_integer("steps", 4, "TRL's steps in a window.")
_RMJAX_STEPS = flags.DEFINE_integer("rmjax_steps", 16, "rmjax's steps in a window.")
_THREADS = flags.DEFINE_integer("threads", 2, "Processors of each side.")
_ROW_LENGTH = flags.DEFINE_integer("row_length", None, "Tokens in a row; chosen from the data if not given.")
_ROWS = flags.DEFINE_integer("rows", None, "Rows in a step; as many as hold 16 pairs on average if not given.")
_CHECKPOINTING = flags.DEFINE_bool(
    "trl_gradient_checkpointing", False, "TRL's own default is true, with which it is slower and takes less memory."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the weights, the shuffling and the choice of windows.")
_LEARNING_RATE = 1e-4  # TRL's default
_MATMUL_SIZE = 2048


def make_config(name: str, pairs: workload.Pairs) -> ExperimentConfig:
    """rmjax's experiment, with TRL's optimizer."""
    config = ExperimentConfig(seed=_SEED.value, model=workload.MODELS[name])
    config.batch = workload.choose_batch(pairs, _ROW_LENGTH.value, _ROWS.value)
    config.text.max_prompt_tokens = config.text.max_response_tokens = workload.LONGEST
    config.optimizer.learning_rate = _LEARNING_RATE
    config.optimizer.b2 = 0.999
    config.optimizer.weight_decay = 0.0
    return config


def steps_of(side: str) -> int:
    """Steps in a window."""
    return {"rmjax": _RMJAX_STEPS.value, "trl": _STEPS.value, "trl_grouped": 2 * _STEPS.value}[side]


def peer(folder: Path, name: str) -> Side:
    """TRL's side, which starts at once."""
    options = {
        "grouped": name == "trl_grouped",
        "windows": _WINDOWS.value,
        "steps": steps_of(name),
        "total_steps": 1 + _WINDOWS.value * steps_of(name),
        "pairs_per_step": workload.PAIRS_PER_STEP,
        "gradient_checkpointing": _CHECKPOINTING.value,
        "learning_rate": _LEARNING_RATE,
        "weight_decay": 0.0,
        "seed": _SEED.value,
        "threads": _THREADS.value,
    }
    return Side("benchmarks.peer_trl", str(folder), json.dumps(options), python=PEERS)


def take_turns(folder: Path) -> tuple[dict[str, list[Answer]], list[float]]:
    """The windows of each side, without their warm-ups, and the matmul rates between them."""
    found: dict[str, list[Answer]] = {"rmjax": [], "trl": [], "trl_grouped": []}
    rates = []
    with (
        Side("benchmarks.side_training", str(folder)) as own,
        peer(folder, "trl") as plain,
        peer(folder, "trl_grouped") as grouped,
    ):
        sides = {"rmjax": own, "trl": plain, "trl_grouped": grouped}
        for name, side in sides.items():
            warm_up = side.ask(steps=2 if name == "rmjax" else 1)
            say(f"{folder.name} {name}: warm-up {warm_up['seconds']:.1f} s")
        for turn in range(_WINDOWS.value + 1):
            rates.append(own.ask(matmul=_MATMUL_SIZE)["flops"])
            for name, side in sides.items():
                if name == "rmjax" or turn < _WINDOWS.value:
                    window = side.ask(steps=steps_of(name))
                    found[name].append(window)
                    pace = window["pairs"] / window["seconds"]
                    say(f"{folder.name} {name}: {pace:.2f} pairs a second, {window['busy']:.2f} processors busy")
    return found, rates


def summary(name: str, config: ExperimentConfig, pairs: workload.Pairs, found: Any, rates: list[float]) -> Answer:
    """The line of a model."""
    pace = {side: statistics.median(entry["pairs"] / entry["seconds"] for entry in found[side]) for side in found}
    peak = {side: max(entry["peak_gib"] for entry in found[side]) for side in found}
    lengths, rate = measure(pairs.tokenized()), statistics.median(rates)
    flops = training_on(config.model, lengths) / len(pairs)

    def padded(side: str) -> float:
        return sum(entry["padded_tokens"] for entry in found[side]) / sum(entry["pairs"] for entry in found[side])

    return {
        "model": name,
        **pace,
        "ratio": pace["rmjax"] / pace["trl"],
        "ratio_grouped": pace["rmjax"] / pace["trl_grouped"],
        "peak_gib": peak["rmjax"],
        "trl_peak_gib": peak["trl"],
        "trl_grouped_peak_gib": peak["trl_grouped"],
        "mfu": flops * pace["rmjax"] / rate,
        "matmul_gflops": rate / 1e9,
        "pairs_per_second_at_matmul_rate": rate / flops,
        "gflops_per_pair": flops / 1e9,
        "pairs": len(pairs),
        "distinct_tokens_per_pair": distinct_tokens(lengths) / len(pairs),
        "visible_pairs_per_pair": visible_pairs(lengths) / len(pairs),
        "trl_tokens_per_pair": padded("trl"),
        "trl_grouped_tokens_per_pair": padded("trl_grouped"),
        "padded_tokens_per_pair": float(padded_tokens(pairs.lengths, workload.PAIRS_PER_STEP).sum() / len(pairs)),
        "row_length": config.batch.row_length,
        "rows": config.batch.rows,
        "rmjax_pairs_per_step": sum(entry["pairs"] for entry in found["rmjax"])
        / (len(found["rmjax"]) * _RMJAX_STEPS.value),
        "trl_gradient_checkpointing": _CHECKPOINTING.value,
        "threads": _THREADS.value,
    }


def main(_: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)
    use_threads(_THREADS.value)
    preferences = workload.read_hh(_MANUAL_DIR.value, seed=_SEED.value)
    contract = workload.make_contract(preferences)
    pairs = workload.hh_pairs(preferences, contract)
    for name in _MODELS.value:
        config = make_config(name, pairs)
        params = workload.initial_params(config.model, _SEED.value)
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / name
            workload.write_folder(folder, config, contract, pairs, params, longest=workload.LONGEST)
            found, rates = take_turns(folder)
        print(json.dumps(summary(name, config, pairs, found, rates)), flush=True)


if __name__ == "__main__":
    app.run(main)
