"""Which addresses lead to this machine alone."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether no other machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
