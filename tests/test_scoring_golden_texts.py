"""Golden conversations that are given to an export take the place of those of the validation data, and do as well."""

import dataclasses
import json

import pytest
from safetensors.numpy import load_file, save_file
from tiny_run import tiny_config, write_rows
from untrained import untrained_config, write_run

from rmjax import RewardScorer
from rmjax.evaluation.golden import GoldenScoreError
from rmjax.evaluation.validation import make_evaluator
from rmjax.preferences.record import FileError, RowError
from rmjax.scoring.export import ExportError, export
from rmjax.scoring.golden_texts import golden_texts
from rmjax.training.loop import train
from rmjax.training.portable import load_portable
from rmjax.training.trained import load_trained


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden_texts")
    write_rows(folder / "rows.jsonl", rows=60)
    config = tiny_config(str(folder / "rows.jsonl"), steps=4, evaluate_every=2)
    train(config, folder / "run", make_evaluator=make_evaluator)
    return folder / "run"


def write_lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


ROWS = (
    {"prompt": "Why? ", "responses": ["Because.", "Never."]},
    {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]},
)


def shown(folder):
    """All that can be read in a folder, but for the vocabulary, in which frequent words are."""
    read = [path for path in folder.iterdir() if path.suffix in (".json", ".md") and path.name != "tokenizer.json"]
    return "\n".join(path.read_text() for path in read)


@pytest.mark.parametrize("choice", ["validation", "neutral", "file"])
def test_an_export_shows_the_conversations_that_were_chosen_and_is_held_to_them(workdir, tmp_path, choice):
    given = {"validation": None, "neutral": "neutral", "file": write_lines(tmp_path / "golden.jsonl", *ROWS)}[choice]
    folder = export(workdir, tmp_path / "out", golden=given)
    private, record = load_trained(workdir).record, load_portable(folder).record
    texts = {part for golden in private.golden for part in (golden.prompt, f'"{golden.response}"')}
    text = shown(folder)
    assert all((part in text) == (choice == "validation") for part in texts)
    if given is not None:
        expected = [(text.prompt, text.response) for text in golden_texts(given)]
        assert [(golden.prompt, golden.response) for golden in record.golden] == expected
        assert {isinstance(prompt, str) for prompt, _ in expected} == {True, False}
    assert (record.mean, record.deviation) == (private.mean, private.deviation)
    scorer = RewardScorer.from_workdir(workdir)
    for golden in record.golden:
        assert scorer.score(golden.prompt, [golden.response])[0] == pytest.approx(golden.rewards[0], abs=1e-5)
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"score.weight": tensors["score.weight"][:, ::-1].copy()}, folder / "model.safetensors")
    with pytest.raises(GoldenScoreError, match="has the reward"):
        RewardScorer.from_workdir(folder)


def test_an_export_is_held_to_the_scores_of_its_checkpoint_whatever_it_shows(workdir, tmp_path, monkeypatch):
    trained = load_trained(workdir)
    golden = tuple(
        dataclasses.replace(one, rewards=tuple(x + 0.01 for x in one.rewards)) for one in trained.record.golden
    )
    changed = dataclasses.replace(trained, record=dataclasses.replace(trained.record, golden=golden))
    monkeypatch.setattr("rmjax.scoring.export.load_model", lambda *_: changed)
    with pytest.raises(GoldenScoreError, match=r"the difference 0\.01 is more than"):
        export(workdir, tmp_path / "out", golden="neutral")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_golden_is_said_before_anything_is_written(workdir, tmp_path):
    with pytest.raises(FileError, match=r"nowhere\.jsonl: found no such file"):
        export(workdir, tmp_path / "out", golden=str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(FileError, match="found no rows, an empty file"):
        golden_texts(write_lines(tmp_path / "empty.jsonl"))
    with pytest.raises(RowError, match=r"rows\.jsonl, line 2: field 'response': missing"):
        golden_texts(write_lines(tmp_path / "rows.jsonl", ROWS[0], {"prompt": "Why?"}))
    long = write_lines(tmp_path / "long.jsonl", ROWS[0], {"prompt": "Why?", "response": "no " * 200})
    with pytest.raises(RowError, match=r"long\.jsonl, line 2: .*too long"):
        export(workdir, tmp_path / "out", golden=long)
    unvalidated = write_run(tmp_path / "run", untrained_config())
    with pytest.raises(ExportError, match="step 5 was saved without validation, so no golden scores are written"):
        export(unvalidated, tmp_path / "out", golden="neutral")
    assert not (tmp_path / "out").exists()
