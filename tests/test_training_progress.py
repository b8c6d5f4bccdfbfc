"""What a log says of a run that nobody watches."""

import time

import pytest
from absl import logging

from rmjax.training.progress import LOG_SECONDS, Progress


@pytest.mark.parametrize("start", [0, 500])
def test_a_log_line_says_how_long_it_will_take(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, start: int
):
    """At 2 seconds a step from the first line on, which has no rate; the 90 seconds of compiling before don't count."""
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    metrics = {"loss": 0.5, "accuracy": 0.75}
    with caplog.at_level("INFO", logger="absl"), Progress(steps=start + 1000, start=start) as progress:
        now[0] += 90
        for step in range(start + 1, start + 101):
            progress.show(step, metrics if step == start + 1 else {**metrics, "tokens_per_second": 1234.0})
            now[0] += 2.0
    lines = caplog.messages
    assert lines[0] == f"step {start + 1} of {start + 1000}: loss 0.5000 accuracy 0.750"
    assert len(lines) == 1 + 99 // (LOG_SECONDS / 2 + 1)
    for line in lines[1:]:
        seconds = 2 * (start + 1000 - int(line.split()[1]))
        assert line.endswith(f"0.750, 1234 tokens/s, {seconds // 60:02d}:{seconds % 60:02d} left")
