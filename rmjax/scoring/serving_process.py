"""The server as a process: where it listens, whom it lets in, and how it ends."""

import asyncio
import contextlib
import os
import socket
import time
from types import FrameType

import uvicorn
from absl import logging

from rmjax.config import ConfigError
from rmjax.listening import explained, is_loopback, noticed, url
from rmjax.scoring.client import API_KEY
from rmjax.scoring.scorer import RewardScorer
from rmjax.scoring.server import make_app
from rmjax.scoring.serving import ServerSettings, Serving
from rmjax.scoring.serving_rewards import normalization_of

_KEEP_ALIVE = 60  # seconds
_BACKLOG = 2048  # connections that wait


def api_key() -> str | None:
    """The key that requests must bring, from the environment; None where there is none."""
    return os.environ.get(API_KEY)


def check_host(host: str, key: str | None, *, allow_anonymous: bool) -> None:
    """ConfigError where others than this machine could reach the server, and nothing keeps them out."""
    if key is None and not allow_anonymous and not is_loopback(host):
        raise ConfigError(
            f"--host is {host!r}, which other machines reach; set {API_KEY} in the environment to a key that requests "
            "must bring, or give --allow_anonymous to let everyone in"
        )


def serve(scorer: RewardScorer, settings: ServerSettings, *, listening: socket.socket, drain_seconds: float) -> None:
    """Serves until SIGTERM or SIGINT; then takes nothing more, answers what it has taken, and returns.

    Args:
      scorer: the model.
      settings: how it is served.
      listening: where it is reached, as ``bound`` gives it.
      drain_seconds: how long it may take to answer what was taken. A second signal doesn't wait.

    Raises:
      AddressError: where another process has begun to listen there meanwhile.
      ConfigError: as ``make_app``.
    """
    app = make_app(scorer, settings, normalization_of(scorer.trained))
    config = uvicorn.Config(
        app, backlog=_BACKLOG, log_config=None, access_log=False, server_header=False, ws="none", lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE, timeout_graceful_shutdown=max(1, round(drain_seconds)),
    )  # fmt: skip
    server = DrainingServer(config, app.state.serving, drain_seconds)
    host, port = listening.getsockname()[:2]
    with explained(host, port):
        listening.listen(_BACKLOG)
    logging.info("serving %s at %s", settings.model, url(host, port))
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listening]))
    logging.info("stopped")


class DrainingServer(uvicorn.Server):
    """Listens on while it finishes, so that ``/ready`` tells those who balance loads, and ends with code 0."""

    def __init__(self, config: uvicorn.Config, serving: Serving, drain_seconds: float):
        super().__init__(config)
        self._serving, self._drain_seconds = serving, drain_seconds
        self._asked_to_stop = False
        self._deadline: float | None = None

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:
        return noticed(self.handle_exit)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Only notes it: a signal comes in the middle of anything."""
        self.should_exit = self.force_exit = self._asked_to_stop
        self._asked_to_stop = True

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: whether it is over."""
        if self._asked_to_stop and self._deadline is None:
            self._deadline = time.monotonic() + self._drain_seconds
            self._serving.batcher.refuse()
            logging.info("stopping: %d responses are still to be answered", self._serving.batcher.waiting)
        over = await super().on_tick(counter)
        if self._deadline is None or over:
            return over
        if time.monotonic() > self._deadline:
            logging.warning("%d responses are left without an answer", self._serving.batcher.waiting)
            return True
        return not self._serving.batcher.waiting
