"""What happens to bad rows is said once, by OnError, and nothing is dropped without a count."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from absl import logging
from bad_rows import BAD_ROWS

from rmjax.config import OnError
from rmjax.preferences.merge import merge_prompts
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import RowError, Source
from rmjax.preferences.row_forms import RowDefaults

ALPACA_EVAL = Path(__file__).parents[2] / "shared" / "data" / "alpaca_eval"
DEFAULTS = RowDefaults("helpfulness")
GOOD = {"prompt": "Q", "chosen": " a", "rejected": " b"}
TRANSCRIPT = "\n\nHuman: a\n\nAssistant:"
SKIPPED_BY_DEFAULT = {
    "share nothing": {"chosen": TRANSCRIPT + " b", "rejected": "\n\nHuman: b\n\nAssistant: c"},
    "identical": {"chosen": TRANSCRIPT + " b", "rejected": TRANSCRIPT + " b"},
    "preference is null": {"instruction": "Q", "output_1": "a", "output_2": "b", "preference": None},
    "outputs are identical": {"instruction": "Q", "output_1": "a", "output_2": "a", "preference": 1.5},
}
ERRORS_BY_DEFAULT = {
    "identical": {**GOOD, "rejected": " a"},
    "no form": {"question": "Q"},
    "prompt under another name": {"question": "Q", "chosen": "a", "rejected": "b"},
    "prompt is null": {"prompt": None, "chosen": TRANSCRIPT + " b", "rejected": TRANSCRIPT + " c"},
    "conversations": {name: [{"role": "assistant", "content": name}] for name in ("chosen", "rejected")},
}


def write(file: Path, *rows: object) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("row", SKIPPED_BY_DEFAULT.values(), ids=SKIPPED_BY_DEFAULT)
def test_the_published_forms_skip_and_count_by_default(row, tmp_path):
    file = write(tmp_path / "rows.jsonl", GOOD, row, row, GOOD)
    preferences = read_preferences(file, defaults=DEFAULTS)
    assert len(preferences) == 2
    assert preferences.skipped.total() == 2
    with pytest.raises(RowError, match="line 2: "):
        read_preferences(file, defaults=DEFAULTS, on_error=OnError.ERROR)


@pytest.mark.parametrize("row", ERRORS_BY_DEFAULT.values(), ids=ERRORS_BY_DEFAULT)
def test_all_else_is_an_error_by_default(row, tmp_path):
    with pytest.raises(RowError, match="line 2: "):
        read_preferences(write(tmp_path / "rows.jsonl", GOOD, row), defaults=DEFAULTS)


def test_an_empty_response_is_valid_in_the_published_forms(tmp_path):
    alpaca = {"instruction": "Q", "output_1": "a", "output_2": "", "preference": 1.5}
    rows = ({"chosen": TRANSCRIPT + " b", "rejected": TRANSCRIPT}, alpaca)
    preferences = read_preferences(write(tmp_path / "rows.jsonl", *rows), defaults=DEFAULTS, on_error=OnError.ERROR)
    assert preferences.preferences[0].responses == (" b", "")
    assert preferences.preferences[1].responses[1][0].content == ""


def test_skip_counts_every_kind_of_bad_row_and_logs_one_line_a_file(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: lines.append(message % values))
    good = json.dumps(GOOD).encode()
    content = b"\n".join(part for case in BAD_ROWS for part in (case.content, good)) + b"\n"
    (tmp_path / "bad.jsonl").write_bytes(content)
    write(tmp_path / "good.jsonl", GOOD)
    preferences = read_preferences(tmp_path / "*.jsonl", defaults=DEFAULTS, on_error=OnError.SKIP)
    assert len(preferences) == len(BAD_ROWS) + 1
    assert preferences.skipped.total() == len(BAD_ROWS)
    assert set(preferences.skipped) == {case.kind for case in BAD_ROWS}
    assert preferences.spec == str(tmp_path / "*.jsonl")
    (line,) = lines
    assert line.startswith(f"{tmp_path / 'bad.jsonl'}: skipped {len(BAD_ROWS)} of {2 * len(BAD_ROWS)} rows: ")


def test_a_file_of_bad_rows_alone_is_counted_not_called_empty(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b"nonsense\n")
    preferences = read_preferences(tmp_path / "rows.jsonl", defaults=DEFAULTS, on_error=OnError.SKIP)
    assert len(preferences) == 0
    assert preferences.skipped == {"invalid JSON": 1}


def test_reading_loads_no_array_library_before_it_needs_one():
    heavy = "{'pyarrow', 'etils', 'jax', 'numpy', 'tensorflow_datasets'}"
    modules = "rmjax.preferences.read, rmjax.preferences.write, rmjax.preferences.merge"
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


@pytest.mark.skipif(not ALPACA_EVAL.is_dir(), reason=f"the AlpacaEval annotations are not at {ALPACA_EVAL}")
def test_the_published_annotations_are_read_and_merged():
    preferences = read_preferences(ALPACA_EVAL / "*" / "annotations.json.gz", defaults=RowDefaults("any"))
    assert len(preferences) == 7054
    assert preferences.skipped == {"identical responses": 14}
    assert {(p.source, p.dimension) for p in preferences} == {(Source.AI, "helpfulness")}
    groups = merge_prompts(preferences)
    assert len(groups) == 643
    assert sum(len(group.comparisons) for group in groups) == 7054
    assert max(len(group.responses) for group in groups) == 12
