"""The client of a reward server by https: what will not mend itself is said at once, what may is tried again."""

import socket
import ssl
import threading

import pytest
from reward_server import serving

from rmjax.scoring import client as clients
from rmjax.scoring.client import RewardClient, ServerFailedError
from rmjax.scoring.source import PromptGroup

# A certificate for 127.0.0.1 that nobody trusts, and its key, which guards nothing:
# openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=localhost \
#   -addext "subjectAltName=DNS:localhost,IP:127.0.0.1"
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgSlmxYW5HWog3L0zq
aBI6h5TVMT5iy5pbMoEJSVqIzLahRANCAARcP+CsD7/v9UQE5JvmhDSlRpw8BYEM
+V7pJ8gO1J2SSwf4z4tE3PozR+jBzJBKNwUnq9rnU7xljX/O9pBaBvut
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUN9NNtlVzNPXs2Fwt7h3QlBe8cZYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyODE1MzkzMFoYDzIxMjYxMTA0
MTUzOTMwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARcP+CsD7/v9UQE5JvmhDSlRpw8BYEM+V7pJ8gO1J2SSwf4z4tE3Poz
R+jBzJBKNwUnq9rnU7xljX/O9pBaBvuto28wbTAdBgNVHQ4EFgQUVumSJWcyHHG3
vwr5ygmL7BAJt98wHwYDVR0jBBgwFoAUVumSJWcyHHG3vwr5ygmL7BAJt98wDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgTw7Jlfe/OKxPE6HlBbT46rDw9ZT5O9zfMmIj1HquvW8CICRi
DyhmblQ/jz0lNvk60Dmvz9pDP9ILclGUDQBvgQP5
-----END CERTIFICATE-----
"""
GROUPS = [PromptGroup(prompt="p", responses=("a", "bb"), origin="prompts[0]")]


def lengths(_, responses):
    return [float(len(response)) for response in responses]


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    monkeypatch.setattr(clients, "FIRST_WAIT_S", 0.01)
    path = tmp_path / "certificate.pem"
    path.write_text(CERTIFICATE)
    return str(path)


def context(certificate):
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(certificate)
    return found


def test_a_certificate_that_is_not_trusted_is_said_at_once(certificate, monkeypatch):
    with serving(lengths, tls=context(certificate)) as server:
        client = RewardClient(url=server.url, patience_s=20.0)
        with pytest.raises(ServerFailedError, match=r"can't be trusted.*certificate verify failed.*REQUESTS_CA_BUNDLE"):
            client.rewards(GROUPS)
        assert not server.asked
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
        assert client.rewards(GROUPS) == [[1.0, 2.0]]


def test_a_server_without_tls_is_said_at_once():
    with serving(lengths) as server, pytest.raises(ServerFailedError, match="speaks no TLS"):
        RewardClient(url=server.url.replace("http:", "https:"), patience_s=20.0).rewards(GROUPS)


def test_a_connection_that_ends_while_it_is_made_is_tried_again(certificate, monkeypatch):
    """As those of a server that is killed and started again."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    found = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)  # who doesn't try again would be waited for without end
        port = listening.getsockname()[1]
        client = RewardClient(url=f"https://127.0.0.1:{port}", patience_s=60.0)
        asking = threading.Thread(target=lambda: found.extend(client.rewards(GROUPS)))
        asking.start()
        for _ in range(3):
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)  # its first words, or the end would be a reset
    with serving(lengths, port=port, tls=context(certificate)):
        asking.join(60)
    assert found == [[1.0, 2.0]]
