"""TRL's RewardTrainer as a side: ``python -m benchmarks.peer_trl FOLDER OPTIONS``, in the peers' environment.

Without ``windows`` in the options (``benchmarks.trl_options``) it trains in its own order and answers ``{"steps": n}``
with the losses of the next n steps and the pairs of each. With ``windows`` it takes those batches of its own epoch that
stand for all of them (see ``representative_windows``), the largest of all first as a warm-up, and answers with the time
of each window.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import TrainerCallback
from trl import RewardConfig, RewardTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

from benchmarks.peer_model import load_conversations, load_model, load_tokenizer, new_model
from benchmarks.representative import padded_tokens, representative_windows
from benchmarks.sides import Answer, Clock, questions, reporting
from benchmarks.trl_options import TrlOptions, from_json


class RecordingCollator:
    """TRL's own collator, which notes the number of each pair it is given."""

    def __init__(self, collator: DataCollatorForPreference):
        self._collator = collator
        self.batches: list[list[int]] = []

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        self.batches.append([example["number"] for example in examples])
        return self._collator(examples)


class RecordingTrainer(RewardTrainer):
    """Keeps the loss of every step to its last digit; the log rounds it."""

    losses: list[float]

    def compute_loss(self, *arguments: Any, **options: Any) -> Any:
        found = super().compute_loss(*arguments, **options)
        self.losses.append((found[0] if isinstance(found, tuple) else found).item())
        return found


class WindowedTrainer(RewardTrainer):
    """Trains on chosen batches of the epoch that its own sampler draws, as that sampler composed them."""

    options: TrlOptions
    padded: list[int]
    pairs_per_token: float

    def _get_train_sampler(self, *arguments: Any) -> list[int]:
        order = list(super()._get_train_sampler(*arguments))
        size, options = self.args.per_device_train_batch_size, self.options
        lengths = np.array([[len(row["chosen_ids"]), len(row["rejected_ids"])] for row in self.train_dataset])
        whole = len(order) // size * size
        costs = padded_tokens(lengths[order[:whole]], size)
        windows = representative_windows(costs, options.windows, options.steps, seed=options.seed)
        batches = [int(costs.argmax()), *windows.reshape(-1).tolist()]
        self.padded, self.pairs_per_token = costs[batches].tolist(), float(whole / costs.sum())
        return [pair for batch in batches for pair in order[batch * size : (batch + 1) * size]]


class Turns(TrainerCallback):
    """Lets the trainer go on for as many steps as were asked for, and reports on them."""

    def __init__(self, asked: Iterator[dict[str, Any]], report: Any, platform: str):
        self._asked, self._report, self._platform = asked, report, platform

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._done, self._until = 0, next(self._asked)["steps"]
        self._clock, self._first = Clock(), 0

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._done += 1
        if self._done == self._until:
            self._report(self._first, self._done, read(self._clock, self._platform))
            self._first, self._until = self._done, self._done + next(self._asked)["steps"]
            self._clock = Clock()


def make_dataset(folder: Path) -> datasets.Dataset:
    """The folder's pairs as TRL takes them when they are tokenized."""
    conversations = load_conversations(folder)
    chosen, rejected = conversations[::2], conversations[1::2]
    longer = [max(len(one), len(other)) for one, other in zip(chosen, rejected, strict=True)]
    return datasets.Dataset.from_dict(
        {"chosen_ids": chosen, "rejected_ids": rejected, "length": longer, "number": list(range(len(chosen)))}
    )


def make_config(options: TrlOptions, output: str) -> RewardConfig:
    """TRL's defaults but for what makes the sides equal, and for the files it would write."""
    chosen: dict[str, Any] = {}
    if options.grouped:
        chosen |= {"train_sampling_strategy": "group_by_length", "length_column_name": "length"}
    if options.gradient_checkpointing is not None:
        chosen["gradient_checkpointing"] = options.gradient_checkpointing
    return RewardConfig(
        output_dir=output,
        per_device_train_batch_size=options.pairs_per_step,
        max_steps=options.total_steps,
        max_length=None,
        bf16=options.bf16,
        use_cpu=options.platform == "cpu",
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        seed=options.seed,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=options.platform != "cpu",
        remove_unused_columns=False,
        **chosen,
    )


def read(clock: Clock, platform: str) -> Answer:
    """Once all that was asked of the device is done; on a GPU the peak is that of its memory."""
    if platform == "cpu":
        return clock.read()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() / 2**30
    return clock.read() | {"peak_gib": peak, "device": torch.cuda.get_device_name()}


def make_trainer(folder: Path, options: TrlOptions, output: str, collator: RecordingCollator) -> RewardTrainer:
    """Of the folder's pairs."""
    if options.new_weights:
        model = new_model(folder, device=options.platform, attention=options.attention)
    else:
        model = load_model(folder)
    trainer = (RecordingTrainer if options.windows is None else WindowedTrainer)(
        model=model,
        args=make_config(options, output),
        data_collator=collator,
        train_dataset=make_dataset(folder),
        processing_class=load_tokenizer(folder),
    )
    trainer.options, trainer.losses = options, []
    return trainer


def main(folder: Path, options: TrlOptions) -> None:
    asked, answer = questions()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    pad = load_tokenizer(folder).pad_token_id
    collator = RecordingCollator(DataCollatorForPreference(pad_token_id=pad))
    with tempfile.TemporaryDirectory() as output, reporting(answer):
        trainer = make_trainer(folder, options, output, collator)

        def report(first: int, last: int, found: Answer) -> None:
            found["pairs"] = (last - first) * options.pairs_per_step
            if isinstance(trainer, WindowedTrainer):
                found["padded_tokens"] = found["work"] = sum(trainer.padded[first:last])
                found["pairs_per_work"] = trainer.pairs_per_token
                found["gradient_checkpointing"] = trainer.args.gradient_checkpointing
            else:
                found |= {"losses": trainer.losses[first:last], "batches": collator.batches[first:last]}
            answer(found)

        trainer.add_callback(Turns(asked, report, options.platform))
        trainer.train()


if __name__ == "__main__":
    main(Path(sys.argv[1]), from_json(sys.argv[2]))
