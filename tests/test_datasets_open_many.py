"""Specs that are opened together."""

import json
from pathlib import Path

from rmjax.config import DataConfig
from rmjax.datasets.open import open_many


def test_merge_goes_over_all_specs_that_are_opened_together(tmp_path):
    data = DataConfig()
    specs = []
    for name, rejected in (("a", "one"), ("b", "two")):
        rows = [{"prompt": f"q{number}", "chosen": "best", "rejected": rejected} for number in range(3)]
        specs.append(str(tmp_path / f"{name}.jsonl"))
        Path(specs[-1]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    specs.append(f"{specs[0]}@brevity")
    counts = [len(found) for found in open_many(specs, data, dimension="x")]
    data.merge_prompts = True
    merged = open_many(specs, data, dimension="x")
    assert counts == [3, 3, 3]
    assert [len(found) for found in merged] == [3, 0, 3]  # another dimension is another group
    assert [entry.responses for entry in merged[0]] == [("best", "one", "two")] * 3
    assert [found.spec for found in merged] == specs
