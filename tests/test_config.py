"""What a config can't be, and that it comes back from its JSON form."""

import dataclasses
import operator

import pytest

from rmjax.config import (
    ConfigError,
    ExperimentConfig,
    OnError,
    ParallelConfig,
    Strategy,
    difference,
    from_json,
    to_json,
    validate,
)
from rmjax.model_config import ModelConfig

WRONG = [
    ("steps", 0, "at least 1"),
    ("seed", -1, r"in 0\.\.2147483647"),
    ("seed", 1 << 31, r"in 0\.\.2147483647"),
    ("text.max_response_tokens", 0, "at least 1"),
    ("text.vocabulary_size", 257, "at least 258"),
    ("batch.responses_per_row", 1, "at least 2, or None"),
    ("batch.comparisons_per_row", 0, "at least 1, or None"),
    ("model.dropout", 1.0, r"in \[0, 1\)"),
    ("optimizer.b2", float("nan"), r"in \[0, 1\)"),
    ("loss.label_smoothing", 0.5, r"in \[0, 0\.5\)"),
    ("loss.label_smoothing", -0.1, r"in \[0, 0\.5\)"),
    ("loss.centering", float("inf"), "a finite number, at least 0"),
    ("optimizer.learning_rate", 0.0, "a finite number above 0"),
    ("optimizer.warmup_steps", -1, "at least 0"),
    ("optimizer.clip_norm", 0.0, "above 0, or None"),
    ("dimension", " ", "the name of a dimension"),
    ("data.train", (), r"at least one data spec, as --config\.data\.train=pairs\.jsonl gives"),
    ("data.validation_fraction", 0.0, r"in \(0, 1\), or else data\.validation must name"),
    ("data.validation_fraction", 1.0, r"in \(0, 1\), or else data\.validation must name"),
    (
        "batch.row_length",
        511,
        r"at least .* = 512, so that every pair fits a row \(lower these limits .*\), or None, in",
    ),
    (
        "labels.margins",
        ("llama2",),
        r"empty, the name of a table \(llama2_small, llama2_large\) or slightly=NUMBER, cl",
    ),
    ("labels.margins", ("slightly=1", "much=2"), "empty, the name of a table"),
    ("labels.margins", ("slightly=1", "clearly=2", "much=inf"), "empty, the name of a table"),
    ("labels.margins", ("slightly=1", "clearly=2", "much=3", "much=4"), "empty, the name of a table"),
    (
        "labels.annotator_weights",
        ("mia",),
        "entries ANNOTATOR=WEIGHT, each name once, with finite weights of at least 0",
    ),
    ("labels.annotator_weights", ("mia=-1",), "entries ANNOTATOR=WEIGHT"),
    ("labels.annotator_weights", ("mia=1", "mia=2"), "entries ANNOTATOR=WEIGHT"),
    ("labels.annotator_weights", ("=1",), "entries ANNOTATOR=WEIGHT"),
    ("labels.source_weights", ("people=1",), "entries SOURCE=WEIGHT of human, ai, rule, simulated"),
    ("labels.least_agreement", 1.1, r"in \[0, 1\]"),
    ("labels.least_agreement", float("nan"), r"in \[0, 1\]"),
    ("labels.count_judgments", False, "true, as labels.several is 'kept'"),
    ("parallel.microbatches", 3, None),
    ("model.key_value_heads", 3, None),
    ("parallel.microbatches", 0, "at least 1"),
    ("model.key_value_heads", 0, "at least 1"),
    ("parallel.fsdp", 0, "at least 1"),
    ("parallel.fsdp", 4, "1, as parallel.strategy is not 'mesh'"),
    ("parallel.tensor", 2, "1, as parallel.strategy is not 'mesh'"),
    ("model.head_size", 7, "even"),
    ("model.reward_heads", ("a", "a"), "names that differ"),
    ("model.ensemble", 0, "at least 1"),
    ("model.ensemble_scale", 0.0, "a finite number above 0"),
    ("model.ensemble_scale", 2.0, r"left at 1\.0, as model\.ensemble is 1"),
    ("model.attention_scale", 0.0, "a finite number above 0, or None"),
    ("model.local_rope_theta", -1.0, "a finite number above 0, or None"),
    ("model.rope_factor", 0.0, "a finite number above 0"),
    ("model.rope_low_frequency", 4.0, r"above 0 and below model\.rope_high_frequency = 4\.0"),
    ("model.rotary_size", 34, r"even, in 2\.\.32, or None"),
    ("model.rotary_size", 3, r"even, in 2\.\.32, or None"),
    ("model.position_embeddings", 383, r"at least text\.max_prompt_tokens \+ text\.max_response_tokens = 384 \(lower"),
    ("model.max_positions", 383, r"at least .* = 384 \(lower these for a pretrained model, or set"),
    ("model.global_layers", (4,), r"numbers of layers, 0\.\.3"),
    ("model.global_layers", (1,), r"empty, as model\.attention_window is None"),
]


def changed(name: str, value: object) -> ExperimentConfig:
    config = ExperimentConfig()
    *parts, last = name.split(".")
    setattr(operator.attrgetter(".".join(parts))(config) if parts else config, last, value)
    return config


@pytest.mark.parametrize(("name", "value", "right"), WRONG)
def test_a_field_that_cannot_be_right_is_named_with_what_would_be(name, value, right):
    validate(ExperimentConfig())
    message = rf"config\.{name} is .*; it must be {right}" if right else f"a multiple of {name} = {value}"
    with pytest.raises(ConfigError, match=message):
        validate(changed(name, value))


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("width", 66, r"a multiple of parallel\.fsdp \* parallel\.tensor = 12"),
        ("attention_heads", 4, r"a multiple of parallel\.tensor = 6"),
        ("mlp_width", 100, r"a multiple of parallel\.tensor = 6"),
        ("key_value_heads", 4, r"a multiple or a divisor of parallel\.tensor = 6"),
    ],
)
def test_what_a_mesh_splits_must_divide(name, value, right):
    config = ExperimentConfig(
        model=ModelConfig(width=96, attention_heads=12, mlp_width=120),
        parallel=ParallelConfig(strategy=Strategy.MESH, fsdp=2, tensor=6),
    )
    for groups in (2, 6, 12):
        config.model.key_value_heads = groups
        validate(config)
    config.model.key_value_heads = 2
    setattr(config.model, name, value)
    with pytest.raises(ConfigError, match=rf"config\.model\.{name} is {value}; it must be {right}"):
        validate(config)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_the_fraction_is_of_no_matter_where_the_validation_data_is_named(fraction):
    config = changed("data.validation_fraction", fraction)
    config.data.validation = ("pairs.jsonl",)
    validate(config)


def test_a_config_comes_back_and_its_differences_are_named():
    config = changed("data.on_error", OnError.SKIP)
    config.model.global_layers = (0, 2)
    config.model.reward_heads = ("a", "b")
    config.optimizer.clip_norm = None
    assert from_json(to_json(config)) == config
    assert difference(ExperimentConfig(), config) == [
        "config.data.on_error: default -> skip",
        "config.model.global_layers: () -> (0, 2)",
        "config.model.reward_heads: () -> ('a', 'b')",
        "config.optimizer.clip_norm: 1.0 -> None",
    ]
    assert difference(config, dataclasses.replace(config)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the config is not JSON"),
        ("[" * 100_000, "the config is not JSON"),
        ("[]", r"config is \[\]; it must be an object"),
        ('{"model": {"wide": 1}}', "config.model has no field 'wide'; its fields are activation, attention, "),
        ('{"steps": "many"}', "config.steps is 'many'; it must be of type int"),
        ('{"steps": true}', "config.steps is True; it must be of type int"),
        ('{"data": {"train": "x"}}', "config.data.train is 'x'; it must be a list of strings"),
        (
            '{"model": {"global_layers": "1"}}',
            "config.model.global_layers is '1'; it must be a list of whole numbers",
        ),
        (
            '{"data": {"on_error": "hide"}}',
            "config.data.on_error is 'hide'; it must be one of 'default', 'error', 'skip'",
        ),
    ],
)
def test_what_is_no_config_is_said(text, message):
    with pytest.raises(ConfigError, match=message):
        from_json(text)
