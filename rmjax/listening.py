"""What all that listens for requests has in common: a socket, whom an address lets in, its URL, and
signals that end it."""

import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

from rmjax.errors import ReportedError


class AddressError(ReportedError):
    """Where nothing can listen: the message names host and port."""


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


@contextlib.contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket at that address, to be had before what takes long is done; connections are refused until it listens.

    Raises:
      AddressError: where there can be none: the port is taken, or the host isn't this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port whose server has just ended is free
        with explained(host, port):
            found.bind((host, port))
        yield found


@contextlib.contextmanager
def explained(host: str, port: int) -> Iterator[None]:
    """Within the block an OSError is an AddressError, which says where it is that nothing can listen."""
    try:
        yield
    except OSError as error:
        raise AddressError(
            f"--host is {host!r} and --port {port}, where nothing can listen: {error.strerror}; right would be an "
            "address of this machine and a port of it that is free (--port=0 takes any)"
        ) from error
