"""The page as a process: where it listens, and how it ends."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from absl import logging
from starlette.types import ASGIApp

from rmjax.config import ConfigError
from rmjax.listening import explained, is_loopback, noticed, url

_DRAIN = 5  # seconds that the last answers may take
_BACKLOG = 128  # connections that wait


def allowed_hosts(host: str, *, by_token: bool) -> frozenset[str] | None:
    """The names under which the page may be asked for; None for any, where a token tells who comes.

    ConfigError where others than this machine could come, and nobody would know who they are.
    """
    if by_token:
        return None
    if is_loopback(host):
        return frozenset({"localhost", "127.0.0.1", "::1", host})
    raise ConfigError(
        f"--host is {host!r}, which other machines reach; give --tokens=FILE with a token for each annotator, or leave "
        "--host out and let them in by a tunnel to this machine's port"
    )


def serve_page(app: ASGIApp, *, listening: socket.socket, ended: Callable[[], None]) -> None:
    """Serves the page until SIGTERM or SIGINT; then, when the last answers are out, calls ``ended`` and returns.

    ``listening`` is where it is reached, as ``rmjax.listening.bound`` gives it. AddressError where another process has
    begun to listen there meanwhile.
    """
    host, port = listening.getsockname()[:2]
    with explained(host, port):
        listening.listen(_BACKLOG)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, ws="none", lifespan="off",
        timeout_graceful_shutdown=_DRAIN,
    )  # fmt: skip
    logging.info("the page is at %s", url(host, port))
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_Server(config).serve(sockets=[listening]))
    ended()


class _Server(uvicorn.Server):
    """Ends with code 0, where uvicorn's own raises the signal again in the end."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:
        return noticed(self.handle_exit)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second signal doesn't wait for answers."""
        self.force_exit = self.should_exit
        self.should_exit = True
