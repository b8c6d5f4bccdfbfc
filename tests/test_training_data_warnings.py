"""A run says what its training data may be by mistake, and trains on them."""

import json

import pytest
from absl import logging
from test_training_data import told
from tiny_run import tiny_config, write_rows

from experiments import own_pairs
from rmjax.preferences.record import UNNAMED_DIMENSION

ROWS = 20


@pytest.fixture(autouse=True)
def _heard(monkeypatch):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)


def warnings(config, folder, caplog):
    """Those of the data; that so few rows are few to validate by is another matter."""
    return [line for line in told(config, folder, caplog)["WARNING"] if "validation comparisons" not in line]


@pytest.mark.parametrize("merged", [False, True])
def test_comparisons_that_count_more_than_once_are_counted_with_their_files(tmp_path, caplog, merged):
    file, link = tmp_path / "rows.jsonl", tmp_path / "link.jsonl"
    write_rows(file, rows=ROWS)
    link.symlink_to(file)
    config = tiny_config(str(file))
    config.data.merge_prompts = merged
    config.data.train = (str(file), str(link), str(file))
    (warning,) = warnings(config, tmp_path, caplog)
    assert warning == (
        f"config.data.train: {2 * ROWS} comparisons count more than once: {ROWS} of {link} are in {file} too, "
        f"{ROWS} of {file}, which is given again; right would be each judgment once, unless these shall weigh more"
    )


def test_few_of_many_files_are_named(tmp_path, caplog):
    config, names = tiny_config(""), [str(tmp_path / f"{number}.jsonl") for number in range(5)]
    for number, name in enumerate(names):
        write_rows(tmp_path / name, rows=ROWS, seed=number)
    config.data.train = (*names, f"{tmp_path}/*.jsonl")
    (warning,) = warnings(config, tmp_path, caplog)
    assert warning.startswith(f"config.data.train: {5 * ROWS} comparisons count more than once: {ROWS} of {names[0]}, ")
    assert (warning.count("which is given again"), " (and those of 2 more files); " in warning) == (3, True)


@pytest.mark.parametrize("merged", [False, True])
def test_merging_prompts_is_as_it_was(tmp_path, caplog, merged):
    """Two files that share their prompts: half as many groups where they are merged, and nothing to warn of."""
    files = [tmp_path / f"{name}.jsonl" for name in ("a", "b")]
    for seed, file in enumerate(files):
        pairs = (f" {seed}", f" {seed + 2}")
        rows = [{"prompt": f"Q{row}", "chosen": pairs[0], "rejected": pairs[1]} for row in range(ROWS)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = tiny_config("")
    config.data.train, config.data.merge_prompts = tuple(map(str, files)), merged
    found = told(config, tmp_path, caplog)
    (split,) = (line for line in found["INFO"] if line.startswith("split by prompt: "))
    assert sum(int(word) for word in split.split() if word.isdecimal()) == ROWS * (1 if merged else 2)
    assert not any("more than once" in line for line in found["WARNING"])


@pytest.mark.parametrize(
    ("asked", "said", "heads", "warned"),
    [
        ("helpfulness", ["brevity"], (), True),
        ("helpfulness", ["wit", "brevity"], (), True),
        ("helpfulness", ["brevity", None], (), False),
        ("brevity", ["brevity"], (), False),
        ("brevity", ["wit", "brevity"], (), False),
        ("helpfulness", [None], (), False),
        (UNNAMED_DIMENSION, ["brevity"], (), False),
        ("helpfulness", ["brevity", "wit"], ("brevity", "wit"), False),
    ],
)
def test_a_dimension_that_no_row_has_is_told(tmp_path, caplog, asked, said, heads, warned):
    rows = [
        {"prompt": f"Q{row}", "chosen": " a", "rejected": " b"} | ({"dimension": name} if name else {})
        for row in range(ROWS)
        for name in said
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = tiny_config(str(tmp_path / "rows.jsonl"))
    config.dimension, config.model.reward_heads = asked, heads
    found = [line for line in warnings(config, tmp_path, caplog) if line.startswith("config.dimension")]
    expected = (
        f"config.dimension is {asked!r}, and no row to train on is of that dimension: all say their own, which goes "
        f"before it; what is learned is {', '.join(sorted(name for name in said if name))}"
    )
    assert found == ([expected] if warned else [])


def test_own_pairs_name_no_dimension_by_themselves():
    assert own_pairs.get_config().dimension == UNNAMED_DIMENSION
