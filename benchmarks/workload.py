"""What the benchmarks run on: HH pairs, a tokenizer trained on them, two models shaped as Llama's.

A benchmark reads HH once (``open_hh``) and sets the stage for each model (``set_stage``): a folder that both sides
read, which lives as long as they do, with ``pairs.npz``, ``tokenizer.json``, ``weights.npz`` (Llama's names),
``llama.json`` (arguments of ``transformers.LlamaConfig``) and ``config.json`` (rmjax's).
"""

import contextlib
import dataclasses
import json
import math
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jaxtyping import Int

from benchmarks.llama_weights import from_llama, llama_config, to_llama
from benchmarks.sides import Side, use_threads
from benchmarks.trl_options import LEARNING_RATE
from rmjax.batches.choose_row import choose_row_shape
from rmjax.batches.contract import TextContract
from rmjax.batches.lengths import GroupLengths, measure
from rmjax.batches.packing import plan_epoch
from rmjax.batches.template import RoleTemplate
from rmjax.batches.tokenize import tokenize
from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.batches.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from rmjax.config import BatchConfig, ExperimentConfig, OnError, OptimizerConfig, TextConfig, from_json, to_json
from rmjax.model_config import ModelConfig
from rmjax.models.reward import Params, RewardModel, init
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Preference, Source, Text

VOCABULARY = 8192
LONGEST = 1200  # tokens of a conversation
PAIRS_PER_STEP = 16
PARTS = {"helpful-base": "helpfulness", "harmless-base": "harmlessness"}
_MULTIPLE = 128

MODELS = {
    "4x256": ModelConfig(width=256, layers=4, attention_heads=4, key_value_heads=2, head_size=64, mlp_width=704),
    "8x512": ModelConfig(width=512, layers=8, attention_heads=8, key_value_heads=4, head_size=64, mlp_width=1408),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """Conversations in twos: that of pair i which was chosen is number 2i, the rejected one number 2i + 1.

    Attributes:
      tokens: all conversations, one after the other, each with its end token.
      offsets: where each conversation begins; one more entry at the end.
    """

    tokens: Int[np.ndarray, "tokens"]
    offsets: Int[np.ndarray, "conversations_and_end"]

    def __len__(self) -> int:
        return len(self.offsets) // 2

    @property
    def lengths(self) -> Int[np.ndarray, "pairs 2"]:
        """Of the chosen and the rejected conversation."""
        return np.diff(self.offsets).reshape(-1, 2)

    def conversation(self, number: int) -> Int[np.ndarray, "tokens"]:
        return self.tokens[self.offsets[number] : self.offsets[number + 1]]

    def taken(self, pairs: Iterable[int]) -> "Pairs":
        """Some of the pairs, in the order given."""
        return as_pairs(self.conversation(2 * pair + side) for pair in pairs for side in range(2))

    def tokenized(self) -> TokenizedPreferences:
        """As rmjax packs them: each pair a group with one comparison, which the chosen one won."""
        count = len(self)
        every = np.arange(count)
        return TokenizedPreferences(
            tokens=self.tokens,
            response_offsets=self.offsets,
            group_offsets=np.arange(count + 1) * 2,
            comparison_offsets=np.arange(count + 1),
            left=every * 2,
            right=every * 2 + 1,
            head=np.zeros(count, np.int32),
            probability=np.ones(count, np.float32),
            margin=np.zeros(count, np.float32),
            weight=np.ones(count, np.float32),
            response_origin=np.stack([np.repeat(every, 2), np.tile([0, 1], count)], axis=1).astype(np.int32),
            comparison_origin=np.stack([every, every * 0], axis=1).astype(np.int32),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """HH, read and tokenized; ``seed`` is that of its order and of the weights."""

    preferences: list[Preference]
    contract: TextContract
    pairs: Pairs
    seed: int


@dataclasses.dataclass(frozen=True)
class Stage:
    """The folder of a model, and how a side starts that reads it."""

    folder: Path

    def side(self, module: str, *arguments: str, python: Path = Path(sys.executable)) -> Side:
        """Starts at once; a context manager that ends it."""
        return Side(module, str(self.folder), *arguments, python=python)


def as_pairs(conversations: Iterable[Int[np.ndarray, "tokens"]]) -> Pairs:
    """Pairs of conversations given in turn: chosen, rejected, chosen, …"""
    laid = list(conversations)
    return Pairs(
        tokens=np.concatenate(laid).astype(np.int32),
        offsets=np.cumsum([0, *map(len, laid)], dtype=np.int64),
    )


def open_hh(manual_dir: str, *, seed: int, threads: int) -> Workload:
    """HH for a benchmark whose sides have so many processors each, as this process has from now on."""
    logging.set_verbosity(logging.WARNING)
    use_threads(threads)
    preferences = read_hh(manual_dir, seed=seed)
    contract = make_contract(preferences)
    return Workload(preferences=preferences, contract=contract, pairs=hh_pairs(preferences, contract), seed=seed)


@contextlib.contextmanager
def set_stage(workload: Workload, name: str, config: ExperimentConfig, *, longest: int = LONGEST) -> Iterator[Stage]:
    """The folder of a model of that name with new weights; ``longest`` as in ``write_folder``."""
    params = initial_params(config.model, workload.seed)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / name
        write_folder(folder, config, workload.contract, workload.pairs, params, longest=longest)
        yield Stage(folder)


def read_hh(manual_dir: str, *, seed: int) -> list[Preference]:
    """The training preferences of both parts, from a folder in the published layout, shuffled."""
    found = []
    for part, dimension in PARTS.items():
        defaults = RowDefaults(dimension=dimension, source=Source.HUMAN)
        found.extend(read_preferences(Path(manual_dir) / part / "train.jsonl.gz", defaults=defaults))
    order = np.random.default_rng(seed).permutation(len(found))
    return [found[place] for place in order.tolist()]


def make_contract(preferences: Iterable[Preference]) -> TextContract:
    """BPE trained on the texts; no text of up to ``LONGEST`` tokens is cut or refused."""
    template = RoleTemplate()

    def rendered(text: Text) -> str:
        return text if isinstance(text, str) else template.render_turns(text)

    texts = (rendered(text) for preference in preferences for text in (preference.prompt, *preference.responses))
    limits = TextConfig(max_prompt_tokens=LONGEST, max_response_tokens=LONGEST)
    return TextContract.from_config(limits, train_tokenizer(texts, VOCABULARY))


def hh_pairs(preferences: Iterable[Preference], contract: TextContract) -> Pairs:
    """The pairs whose conversations are both of at most ``LONGEST`` tokens."""
    unlimited = dataclasses.replace(contract, max_prompt_tokens=1 << 20, max_response_tokens=1 << 20)
    tokenized = tokenize(preferences, unlimited, on_error=OnError.SKIP)
    chosen_left = tokenized.probability > 0.5
    chosen = np.where(chosen_left, tokenized.left, tokenized.right)
    rejected = np.where(chosen_left, tokenized.right, tokenized.left)
    lengths = np.diff(tokenized.response_offsets)
    short = (lengths[chosen] <= LONGEST) & (lengths[rejected] <= LONGEST)
    both = np.stack([chosen, rejected], axis=1)[short & (tokenized.probability != 0.5)]
    return as_pairs(tokenized.conversation(response) for response in both.reshape(-1).tolist())


def choose_batch(
    pairs: Pairs, row_length: int | None, rows: int | None, *, pairs_per_step: int = PAIRS_PER_STEP, devices: int = 1
) -> BatchConfig:
    """Rows that hold ``pairs_per_step`` pairs on average over an epoch, and go round evenly over ``devices``.

    They are as short as the longest pair allows, to a multiple of 128; where these don't go round evenly, they
    are fewer and longer."""
    lengths = measure(pairs.tokenized())
    shortest = math.ceil(int(lengths.comparison_tokens.max()) / _MULTIPLE) * _MULTIPLE
    length = row_length or shortest
    if rows is None:
        needed = pairs_per_step * epoch_rows(lengths, BatchConfig(row_length=length)) / len(pairs)
        if row_length is None:
            rows = max(1, int(needed / devices)) * devices
            length = max(shortest, round(length * needed / rows / _MULTIPLE) * _MULTIPLE)
        else:
            rows = max(1, round(needed / devices)) * devices
    return BatchConfig(row_length=length, rows=rows)


def mean_pairs(pairs: Pairs, batch: BatchConfig) -> float:
    """In a step, over an epoch."""
    return batch.rows * len(pairs) / epoch_rows(measure(pairs.tokenized()), batch)


def epoch_rows(lengths: GroupLengths, batch: BatchConfig) -> int:
    """How many rows an epoch takes."""
    return plan_epoch(lengths, choose_row_shape(lengths, batch), seed=0, epoch=0).rows


def trained_as_trl(name: str, *, seed: int = 0) -> ExperimentConfig:
    """rmjax's experiment with a model, all its layers unrolled, and TRL's optimizer; the batch is left to be chosen."""
    model = MODELS[name]
    return ExperimentConfig(
        seed=seed, model=dataclasses.replace(model, unroll=model.layers), optimizer=optimizer_of_trl()
    )


def optimizer_of_trl() -> OptimizerConfig:
    """As TRL's defaults have it, but for weight decay, which is none on both sides."""
    return OptimizerConfig(learning_rate=LEARNING_RATE, b2=0.999, weight_decay=0.0)


def initial_params(model: ModelConfig, seed: int) -> Params:
    """rmjax's own initialization, but with queries that aren't zero: attention is to do something from the start."""
    params = init(RewardModel(model, VOCABULARY), jax.random.PRNGKey(seed))
    return jax.tree.map(np.asarray, with_queries(params, seed))


def with_queries(params: Params, seed: int) -> Params:
    """The parameters, on their devices, with new queries in place of those at zero, which rmjax begins with: products
    of zeros would also take a GPU less power."""
    random = np.random.default_rng(seed)

    def renewed(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        if [key.key for key in path[-2:]] != ["query", "kernel"]:
            return leaf
        scale = leaf.shape[-2] ** -0.5  # of the model's width
        return jax.device_put(scale * random.standard_normal(leaf.shape, np.float32), leaf.sharding)

    return jax.tree_util.tree_map_with_path(renewed, params)


def write_folder(
    folder: Path, config: ExperimentConfig, contract: TextContract, pairs: Pairs, params: Params, *, longest: int
) -> None:
    """Writes what both sides read; ``longest`` is the length of the longest conversation that they may be given."""
    write_shared(folder, config, pairs, llama_config(config.model, VOCABULARY, longest=longest))
    np.savez(folder / "weights.npz", **to_llama(params))  # pyright: ignore[reportArgumentType] no array is named allow_pickle
    save_tokenizer(contract.tokenizer, folder / "tokenizer.json")


def write_shared(folder: Path, config: ExperimentConfig, pairs: Pairs, llama: dict[str, Any]) -> None:
    """All but weights and tokenizer; ``llama`` as ``llama_config`` gives it."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "pairs.npz", tokens=pairs.tokens, offsets=pairs.offsets)
    (folder / "config.json").write_text(to_json(config))
    (folder / "llama.json").write_text(json.dumps(llama, indent=2))


def read_shared(folder: Path) -> tuple[ExperimentConfig, Pairs]:
    """What ``write_shared`` wrote, for rmjax."""
    with np.load(folder / "pairs.npz") as stored:
        pairs = Pairs(tokens=stored["tokens"], offsets=stored["offsets"])
    return from_json((folder / "config.json").read_text()), pairs


def read_folder(folder: Path) -> tuple[ExperimentConfig, TextContract, Pairs, Params]:
    """What ``write_folder`` wrote, for rmjax."""
    config, pairs = read_shared(folder)
    contract = TextContract.from_config(config.text, load_tokenizer(folder / "tokenizer.json"))
    with np.load(folder / "weights.npz") as weights:
        return config, contract, pairs, from_llama(weights)
