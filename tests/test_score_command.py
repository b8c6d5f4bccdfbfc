"""``python -m rmjax.score``: its flags reach the scorer."""

import json

from untrained import untrained_config, write_run


def test_a_head_of_several_is_chosen(tmp_path, server):
    write_run(tmp_path / "run", untrained_config(heads=("honesty", "wit")))
    (tmp_path / "rows.jsonl").write_text('{"prompt": "why", "response": "it rains"}\n')
    given = [f"--workdir={tmp_path / 'run'}", f"--input={tmp_path / 'rows.jsonl'}", "--output=-"]
    every, one = (server.run("-m", "rmjax.score", *given, *head) for head in ([], ["--head=wit"]))
    assert json.loads(one.stdout)["reward"] == json.loads(every.stdout)["reward"]["wit"]
    wrong = server.run("-m", "rmjax.score", *given, "--head=speed")
    said = "error: the model has no reward head 'speed'; --head must be one of honesty, wit"
    assert (wrong.returncode, wrong.stderr.splitlines()[-1]) == (2, said)
