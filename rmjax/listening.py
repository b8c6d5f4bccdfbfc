"""What all that listens for requests has in common: whom an address lets in, its URL, and signals that end it."""

import contextlib
import ipaddress
import signal
from collections.abc import Callable, Iterator
from types import FrameType


def is_loopback(host: str) -> bool:
    """Whether no other machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url(host: str, port: int) -> str:
    """Of what listens there."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def noticed(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within the block SIGTERM and SIGINT are the handler's; in place of uvicorn's own, which raises them again in the
    end."""
    old = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, former in old.items():
            signal.signal(number, former)
