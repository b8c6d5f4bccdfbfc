"""The configuration of an experiment: plain dataclasses, their validation, and their JSON form.

Every field is an absl flag of the commands (``--config.optimizer.learning_rate=1e-4``), because the commands read
their config through ``ml_collections.config_flags``. This module needs the standard library alone, so anything may
import it.
"""

import enum
import itertools
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rmjax import config_json
from rmjax.errors import ConfigError
from rmjax.labels_config import LabelsConfig, checks_of_labels
from rmjax.model_config import ComputeDtype, ModelConfig, Norm, checks_of_heads
from rmjax.tuning_config import TuningConfig, checks_of_tuning


class OnError(enum.Enum):
    """What happens to a row that can't be used."""

    DEFAULT = "default"  # what the row form says: published files that are known to hold bad rows skip, all else errs
    ERROR = "error"
    SKIP = "skip"


class Schedule(enum.Enum):
    """The learning rate after the warmup."""

    CONSTANT = "constant"
    LINEAR = "linear"
    COSINE = "cosine"


class BestBy(enum.Enum):
    """The validation metric that says which checkpoint is a run's best."""

    ACCURACY = "accuracy"  # the highest
    NLL = "nll"  # the lowest negative log-likelihood, which sees how sure the rewards are too


class Strategy(enum.Enum):
    """How a step is laid over the devices."""

    PMAP = "pmap"  # data parallel over all devices, state replicated
    MESH = "mesh"  # parameters and optimizer state split over devices too: see fsdp and tensor of ParallelConfig
    JIT = "jit"  # one device


@dataclass(kw_only=True, slots=True)
class DataConfig:
    """Which preferences are learned from.

    A data spec is ``name/config:split`` (TFDS slices allowed), a file or a glob; ``SPEC@LABELER`` has the pairs judged
    again by a labeler.
    """

    train: tuple[str, ...] = ("synthetic/helpfulness:train",)
    validation: tuple[str, ...] = ()  # empty: validation_fraction of train, split by prompt
    validation_fraction: float = 0.05
    data_dir: str | None = None  # where prepared data sets lie (a bucket too); None: TFDS's default folder
    manual_dir: str | None = None  # files in the published layout of a data set, read instead of downloading it
    on_error: OnError = OnError.DEFAULT
    transcripts_as_messages: bool = False  # HH's turns become messages, which a chat template renders as it does others
    merge_prompts: bool = False  # rows of one prompt, dimension and source become one group, over all specs


@dataclass(kw_only=True, slots=True)
class TextConfig:
    """The text half of the scoring contract: tokenizer and limits, which never depend on a response's siblings."""

    # A tokenizer.json with our special tokens, or a model of Hugging Face's, by its folder or OWNER/NAME, for tokenizer
    # and chat template; None: those of config.pretrained, or else byte-level BPE is trained on the training texts.
    tokenizer: str | None = None
    vocabulary_size: int = 4096  # of the tokenizer that is trained
    max_prompt_tokens: int = 256  # a longer prompt keeps its last tokens
    max_response_tokens: int = 128  # the end token counts; a longer response is an error or a counted skip


@dataclass(kw_only=True, slots=True)
class BatchConfig:
    """The shape of a step's batch."""

    row_length: int | None = None  # tokens; None: chosen from the lengths of the data, as the slots below are
    rows: int = 16  # over all devices, processes and microbatches
    responses_per_row: int | None = None  # slots for responses and comparisons
    comparisons_per_row: int | None = None


@dataclass(kw_only=True, slots=True)
class LossConfig:
    """The Bradley-Terry loss and its terms."""

    label_smoothing: float = 0.0  # the probability with which a label is taken to be the wrong way round
    centering: float = 0.0  # coefficient of (r_left + r_right)**2
    bootstrap: bool = True  # each member of model.ensemble weighs the comparisons in its own way


@dataclass(kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW with warmup, decay and clipping."""

    learning_rate: float = 1e-3
    warmup_steps: int = 50
    schedule: Schedule = Schedule.COSINE
    final_learning_rate: float = 0.0  # as a share of learning_rate
    weight_decay: float = 0.01  # of matrices; norms and biases are left alone
    b1: float = 0.9
    b2: float = 0.98
    epsilon: float = 1e-8
    clip_norm: float | None = 1.0
    first_moment_dtype: ComputeDtype = ComputeDtype.FLOAT32  # bfloat16 saves 2 bytes a parameter


@dataclass(kw_only=True, slots=True)
class ParallelConfig:
    """How a step is laid over devices and time."""

    strategy: Strategy = Strategy.PMAP
    fsdp: int = 1  # of mesh: rows and every parameter are split over so many devices
    tensor: int = 1  # of mesh: heads, MLP and embedding are split over so many; rows over all the other devices
    microbatches: int = 1  # gradient accumulation inside the step: the rows of a device are taken in so many parts


@dataclass(kw_only=True, slots=True)
class LoggingConfig:
    """What a run says of itself. metrics.jsonl has one line a step, always."""

    progress_every: int = 10  # steps between updates of the progress bar and of the event files
    tensorboard: bool = True
    wandb_project: str | None = None  # needs the wandb package


@dataclass(kw_only=True, slots=True)
class ExperimentConfig:
    """Everything that makes a run what it is; written to its workdir as ``config.json``."""

    dimension: str = "helpfulness"  # of rows and data sets that don't say which they were judged on
    seed: int = 0
    steps: int = 1000
    evaluate_every: int = 200  # steps between validations, each followed by a checkpoint
    best_by: BestBy = BestBy.ACCURACY  # what is kept and loaded as the best checkpoint
    data: DataConfig = field(default_factory=DataConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    text: TextConfig = field(default_factory=TextConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    # A model in Hugging Face's format that training begins with, by its folder or its id on the hub (OWNER/NAME, or
    # OWNER/NAME@REVISION): its weights, its tokenizer, and its architecture in the place of config.model's own.
    pretrained: str | None = None


def validate(config: ExperimentConfig) -> None:
    """Raises ConfigError for the first field that can't be right.

    Until the architecture of ``config.pretrained`` is that of ``config.model``, which then has a vocabulary size, what
    depends on it isn't asked.
    """
    config_json.check_types(config, "config")
    for name, ok, right in itertools.chain(_checks_of_numbers(config), _checks_of_the_rest(config)):
        if not ok:
            raise ConfigError(f"config.{name} is {_get(config, name)!r}; it must be {right}")


_OR_CHOSEN = "or None, in the experiment's file, to choose from the data"
_Check = tuple[str, bool, str]  # the field, whether it is right, and what would be right
_AT_LEAST_ONE = (
    "steps", "evaluate_every", "text.max_prompt_tokens", "text.max_response_tokens", "batch.rows", "model.width",
    "model.layers", "model.attention_heads", "model.key_value_heads", "model.head_size", "model.mlp_width",
    "model.unroll", "parallel.microbatches", "parallel.fsdp", "parallel.tensor", "logging.progress_every",
)  # fmt: skip


def _checks_of_numbers(config: ExperimentConfig) -> Iterator[_Check]:
    """The range of each number."""
    for name in _AT_LEAST_ONE:
        yield name, _get(config, name) >= 1, "at least 1"
    for name, minimum in (("batch.row_length", 1), ("batch.responses_per_row", 2), ("batch.comparisons_per_row", 1)):
        value = _get(config, name)
        yield name, value is None or value >= minimum, f"at least {minimum}, {_OR_CHOSEN}"
    for name in ("model.dropout", "optimizer.b1", "optimizer.b2"):
        yield name, 0 <= _get(config, name) < 1, "in [0, 1)"
    for name in ("loss.centering", "optimizer.weight_decay", "optimizer.final_learning_rate"):
        yield name, 0 <= _get(config, name) < math.inf, "a finite number, at least 0"
    for name in (
        "optimizer.learning_rate", "optimizer.epsilon", "model.rope_theta", "model.rope_factor",
        "model.rope_original_length", "model.norm_epsilon",
    ):  # fmt: skip
        yield name, 0 < _get(config, name) < math.inf, "a finite number above 0"
    yield "seed", 0 <= config.seed < 1 << 31, "in 0..2147483647"
    smoothing = config.loss.label_smoothing
    yield "loss.label_smoothing", 0 <= smoothing < 0.5, "in [0, 0.5): at 0.5 labels say nothing, beyond it the opposite"
    yield "optimizer.warmup_steps", config.optimizer.warmup_steps >= 0, "at least 0"
    window, softcap = config.model.attention_window, config.model.attention_softcap
    yield "model.attention_window", window is None or window >= 1, "at least 1, or None to see all"
    yield "model.attention_softcap", softcap is None or softcap > 0, "above 0, or None for none"
    for name in ("model.attention_scale", "model.local_rope_theta"):
        value = _get(config, name)
        yield name, value is None or 0 < value < math.inf, "a finite number above 0, or None"
    clip = config.optimizer.clip_norm
    yield "optimizer.clip_norm", clip is None or clip > 0, "above 0, or None for no clipping"
    rows = config.model.vocabulary_size
    yield "model.vocabulary_size", rows is None or rows >= 2, "at least 2, or None for what the tokenizer needs"
    yield "text.vocabulary_size", config.text.vocabulary_size >= 258, "at least 258 (bytes, pad, end)"


def _checks_of_the_rest(config: ExperimentConfig) -> Iterator[_Check]:
    """Names, and fields that must suit each other; the numbers are in their ranges."""
    data, text, batch, model = config.data, config.text, config.batch, config.model
    yield "dimension", bool(config.dimension.strip()), "the name of a dimension"
    yield "data.train", bool(data.train), "at least one data spec, as --config.data.train=pairs.jsonl gives"
    split = bool(data.validation) or 0 < data.validation_fraction < 1
    yield "data.validation_fraction", split, "in (0, 1), or else data.validation must name what to validate on"
    yield from checks_of_labels(config.labels)
    smallest = least_row_length(text)
    right = (
        f"at least text.max_prompt_tokens + 2 * text.max_response_tokens = {smallest}, so that every pair fits a row "
        "(lower these limits for shorter ones), " + _OR_CHOSEN
    )
    yield "batch.row_length", batch.row_length is None or batch.row_length >= smallest, right
    microbatches, groups = config.parallel.microbatches, model.key_value_heads
    yield "batch.rows", batch.rows % microbatches == 0, f"a multiple of parallel.microbatches = {microbatches}"
    yield (
        "model.attention_heads",
        model.attention_heads % groups == 0,
        f"a multiple of model.key_value_heads = {groups}",
    )
    yield "model.head_size", model.head_size % 2 == 0, "even, for rotary positions"
    yield from checks_of_heads(model)
    if config.pretrained is None or model.vocabulary_size is not None:
        yield from _checks_of_positions(config)
        yield from checks_of_tuning(config.tuning, model)
        yield from _checks_of_the_mesh(config.parallel, model)


def _checks_of_positions(config: ExperimentConfig) -> Iterator[_Check]:
    """Windows, rotary positions and learned ones."""
    model, longest = config.model, config.text.max_prompt_tokens + config.text.max_response_tokens
    known = all(0 <= layer < model.layers for layer in model.global_layers)
    yield "model.global_layers", known, f"numbers of layers, 0..{model.layers - 1}"
    windowed = model.attention_window is not None
    yield "model.global_layers", windowed or not model.global_layers, "empty, as model.attention_window is None"
    size = model.head_size if model.rotary_size is None else model.rotary_size
    yield "model.rotary_size", 0 < size <= model.head_size and size % 2 == 0, f"even, in 2..{model.head_size}, or None"
    low, high = model.rope_low_frequency, model.rope_high_frequency
    yield "model.rope_low_frequency", 0 < low < high, f"above 0 and below model.rope_high_frequency = {high}"
    both = f"at least text.max_prompt_tokens + text.max_response_tokens = {longest} (lower these for a pretrained model"
    for name, further in (("position_embeddings", ""), ("max_positions", ", or set it for one that reads further")):
        value = getattr(model, name)
        yield f"model.{name}", value is None or value >= longest, f"{both}{further}), or None"
    offset = not model.norm_offset or model.norm is Norm.RMS
    yield "model.norm_offset", offset, f"false, as model.norm is {model.norm.value!r}"


def _checks_of_the_mesh(parallel: ParallelConfig, model: ModelConfig) -> Iterator[_Check]:
    """What is split must divide evenly, but for key and value heads that are fewer than the devices."""
    mesh = parallel.strategy is Strategy.MESH
    for name in ("fsdp", "tensor"):
        value = getattr(parallel, name)
        yield f"parallel.{name}", mesh or value == 1, f"1, as parallel.strategy is not {Strategy.MESH.value!r}"
    fsdp, tensor, groups = parallel.fsdp, parallel.tensor, model.key_value_heads
    parts = fsdp * tensor
    yield "model.width", model.width % parts == 0, f"a multiple of parallel.fsdp * parallel.tensor = {parts}"
    for name, count in (("attention_heads", model.attention_heads), ("mlp_width", model.mlp_width)):
        yield f"model.{name}", count % tensor == 0, f"a multiple of parallel.tensor = {tensor}"
    right = f"a multiple or a divisor of parallel.tensor = {tensor}"
    yield "model.key_value_heads", groups % tensor == 0 or tensor % groups == 0, right


def least_row_length(text: TextConfig) -> int:
    """The shortest row, in tokens, that every pair fits whose texts keep to the limits."""
    return text.max_prompt_tokens + 2 * text.max_response_tokens


def _get(config: ExperimentConfig, name: str) -> Any:
    return operator.attrgetter(name)(config)


def to_json(config: ExperimentConfig) -> str:
    """The config as JSON text: nested objects, enums by value, tuples as lists."""
    return config_json.to_json(config)


def from_json(text: str) -> ExperimentConfig:
    """The config that ``to_json`` wrote; an unknown field or a wrong type is a ConfigError that names it."""
    return config_json.from_json(ExperimentConfig, text, "config")


def difference(old: ExperimentConfig, new: ExperimentConfig) -> list[str]:
    """One line for each field that differs, as ``config.seed: 0 -> 1``; empty for equal configs."""
    return config_json.difference(old, new, "config")
