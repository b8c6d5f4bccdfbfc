"""The configuration of an experiment: plain dataclasses, their validation, and their JSON form.

Every field is an absl flag of the commands (``--config.optimizer.learning_rate=1e-4``), because the commands read
their config through ``ml_collections.config_flags``. This module needs the standard library alone, so anything may
import it.
"""

import dataclasses
import enum
import json
import math
import types
import typing
from dataclasses import dataclass, field

from rmjax.errors import UserError


class ConfigError(UserError):
    """A config that can't be run: the message names the field, the value found and what would be right."""


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


class ComputeDtype(enum.Enum):
    """The dtype of matrix products and activations; norms, softmax and reward head are float32 always."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Remat(enum.Enum):
    """What the backward pass computes again instead of keeping."""

    NONE = "none"
    FULL = "full"


class Strategy(enum.Enum):
    """How a step is laid over the devices."""

    PMAP = "pmap"  # data parallel over all devices, state replicated
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
    merge_prompts: bool = False  # rows of one prompt, dimension and source become one group, over all specs


@dataclass(kw_only=True, slots=True)
class TextConfig:
    """The text half of the scoring contract: tokenizer and limits, which never depend on a response's siblings."""

    tokenizer: str | None = None  # a tokenizer.json; None: byte-level BPE is trained on the training texts
    vocabulary_size: int = 4096  # of the tokenizer that is trained
    max_prompt_tokens: int = 256  # a longer prompt keeps its last tokens
    max_response_tokens: int = 128  # the end token counts; a longer response is an error or a counted skip


@dataclass(kw_only=True, slots=True)
class BatchConfig:
    """The shape of a step's batch."""

    row_length: int = 512
    rows: int = 16  # over all devices, processes and microbatches
    responses_per_row: int | None = None  # slots for responses and comparisons; None: chosen from the token lengths
    comparisons_per_row: int | None = None


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """A decoder-only transformer with a reward head."""

    width: int = 128
    layers: int = 4
    attention_heads: int = 4
    key_value_heads: int = 2
    head_size: int = 32
    mlp_width: int = 384
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-6
    dropout: float = 0.0  # of embeddings and residual branches, in training alone
    compute_dtype: ComputeDtype = ComputeDtype.FLOAT32
    remat: Remat = Remat.NONE
    reward_heads: tuple[str, ...] = ()  # one output for each named dimension; empty: one output for all comparisons


@dataclass(kw_only=True, slots=True)
class LossConfig:
    """The Bradley-Terry loss and its terms."""

    label_smoothing: float = 0.0  # the probability with which a label is taken to be the wrong way round
    centering: float = 0.0  # coefficient of (r_left + r_right)**2


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


@dataclass(kw_only=True, slots=True)
class ParallelConfig:
    """How a step is laid over devices and time."""

    strategy: Strategy = Strategy.PMAP
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
    data: DataConfig = field(default_factory=DataConfig)
    text: TextConfig = field(default_factory=TextConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)


def validate(config: ExperimentConfig) -> None:
    """Raises ConfigError for the first field that can't be right."""
    for name, value, ok, right in _checks(config):
        if not ok:
            raise ConfigError(f"config.{name} is {value!r}; it must be {right}")


def _checks(config: ExperimentConfig):
    """Yields (field, value, whether it is right, what would be right)."""
    at_least_one = (
        "steps", "evaluate_every", "text.vocabulary_size", "text.max_prompt_tokens", "text.max_response_tokens",
        "batch.row_length", "batch.rows", "model.width", "model.layers", "model.attention_heads",
        "model.key_value_heads", "model.head_size", "model.mlp_width", "parallel.microbatches",
        "logging.progress_every",
    )  # fmt: skip
    for name in at_least_one:
        yield name, (value := _get(config, name)), value >= 1, "at least 1"
    for name in ("batch.responses_per_row", "batch.comparisons_per_row"):
        value = _get(config, name)
        minimum = 2 if "responses" in name else 1
        yield name, value, value is None or value >= minimum, f"at least {minimum}, or None to choose from the data"
    for name in ("model.dropout", "loss.label_smoothing", "optimizer.b1", "optimizer.b2", "data.validation_fraction"):
        yield name, (value := _get(config, name)), 0 <= value < 1, "in [0, 1)"
    for name in ("loss.centering", "optimizer.weight_decay", "optimizer.final_learning_rate"):
        yield name, (value := _get(config, name)), 0 <= value < math.inf, "a finite number, at least 0"
    for name in ("optimizer.learning_rate", "optimizer.epsilon", "model.rope_theta", "model.norm_epsilon"):
        yield name, (value := _get(config, name)), 0 < value < math.inf, "a finite number above 0"
    yield "optimizer.warmup_steps", (value := config.optimizer.warmup_steps), value >= 0, "at least 0"
    clip = config.optimizer.clip_norm
    yield "optimizer.clip_norm", clip, clip is None or clip > 0, "above 0, or None for no clipping"
    yield "dimension", config.dimension, bool(config.dimension.strip()), "the name of a dimension"
    yield "data.train", config.data.train, bool(config.data.train), "at least one data spec"
    text, batch, model = config.text, config.batch, config.model
    yield (
        "text.vocabulary_size",
        text.vocabulary_size,
        text.vocabulary_size >= 258,
        "at least 258 (bytes, pad, end)",
    )
    smallest = text.max_prompt_tokens + 2 * text.max_response_tokens
    yield (
        "batch.row_length",
        batch.row_length,
        batch.row_length >= smallest,
        (f"at least text.max_prompt_tokens + 2 * text.max_response_tokens = {smallest}, so that every pair fits a row"),
    )
    rows = config.parallel.microbatches
    yield "batch.rows", batch.rows, batch.rows % rows == 0, f"a multiple of parallel.microbatches = {rows}"
    groups = model.key_value_heads
    yield (
        "model.attention_heads",
        model.attention_heads,
        model.attention_heads % groups == 0,
        (f"a multiple of model.key_value_heads = {groups}"),
    )
    yield "model.head_size", model.head_size, model.head_size % 2 == 0, "even, for rotary positions"
    heads = model.reward_heads
    yield "model.reward_heads", heads, len(set(heads)) == len(heads), "names that differ from each other"


def _get(config: typing.Any, name: str) -> typing.Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config


def to_json(config: ExperimentConfig) -> str:
    """The config as JSON text: nested objects, enums by value, tuples as lists."""
    return json.dumps(dataclasses.asdict(config), indent=2, default=lambda value: value.value) + "\n"


def from_json(text: str) -> ExperimentConfig:
    """The config that ``to_json`` wrote; an unknown field or a wrong type is a ConfigError that names it."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the config is not JSON: {error}") from error
    return _build(ExperimentConfig, values, "config")


def difference(old: ExperimentConfig, new: ExperimentConfig) -> list[str]:
    """One line for each field that differs, as ``config.seed: 0 -> 1``; empty for equal configs."""
    lines = []
    for name, before in _flatten(old, "config"):
        after = _get(new, name.removeprefix("config."))
        if before != after:
            lines.append(f"{name}: {_shown(before)} -> {_shown(after)}")
    return lines


def _flatten(config: typing.Any, prefix: str):
    for part in dataclasses.fields(config):
        value = getattr(config, part.name)
        if dataclasses.is_dataclass(value):
            yield from _flatten(value, f"{prefix}.{part.name}")
        else:
            yield f"{prefix}.{part.name}", value


def _shown(value: typing.Any) -> str:
    return value.value if isinstance(value, enum.Enum) else repr(value)


def _build(kind: typing.Any, value: typing.Any, name: str) -> typing.Any:
    """A value of the annotated kind from its JSON form."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ConfigError(f"{name} is {value!r}; it must be an object")
        fields = {part.name: part.type for part in dataclasses.fields(kind)}
        unknown = sorted(set(value) - set(fields))
        if unknown:
            raise ConfigError(f"{name} has no field {unknown[0]!r}; its fields are {', '.join(sorted(fields))}")
        return kind(**{key: _build(fields[key], entry, f"{name}.{key}") for key, entry in value.items()})  # pyright: ignore[reportCallIssue] a dataclass type is callable
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(value)
        except ValueError:
            right = ", ".join(repr(choice.value) for choice in kind)
            raise ConfigError(f"{name} is {value!r}; it must be one of {right}") from None
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        return _build(next(part for part in kind.__args__ if part is not type(None)), value, name)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise ConfigError(f"{name} is {value!r}; it must be a list of strings")
        return tuple(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{name} is {value!r}; it must be of type {kind.__name__}")
    return value
