"""A model is found by its folder or by its id on the hub, of which there is a small one here."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rmjax.hub import HubError, folder_of

ROOT = Path(__file__).parents[1]
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"not asked for",
}
TREE = [
    {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
    for name, content in FILES.items()
]
SIBLINGS = [{"rfilename": name} for name in FILES]
ABOUT = {"id": "owner/name", "modelId": "owner/name", "siblings": SIBLINGS, "tags": [], "private": False}
COMMITS = {"main": "a" * 40, "old": "b" * 40}


class Hub(http.server.BaseHTTPRequestHandler):
    """OWNER/NAME with two revisions; all else is not found."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(body=True)

    def do_HEAD(self):
        self.answer(body=False)

    def answer(self, *, body):
        self.server.asked.append(self.path)
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:4] == ["api", "models", "owner", "name"]:
            revision = parts[5] if len(parts) > 5 else "main"
            if parts[4:5] == ["tree"]:
                return self.send(json.dumps(TREE).encode(), {}, body=body)
            if revision in COMMITS:
                return self.send(json.dumps(ABOUT | {"sha": COMMITS[revision]}).encode(), {}, body=body)
        if parts[:3] == ["owner", "name", "resolve"] and parts[4] in FILES:
            content = FILES[parts[4]]
            commit = COMMITS.get(parts[3], parts[3])
            headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
            return self.send(content, headers, body=body)
        return self.send(b"{}", {"X-Error-Code": "RepoNotFound"}, body=body, status=404)

    def send(self, content, headers, *, body, status=200):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def asked_in_a_process(hub, home, name, *, weights=True):
    """The hub's address is read when its library is imported."""
    code = f"from rmjax.hub import folder_of; print(folder_of({name!r}, weights={weights}))"
    variables = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}", "HF_HOME": str(home)}
    variables |= {"PATH": os.environ["PATH"], "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=variables, check=False
    )


@pytest.mark.parametrize(("name", "revision"), [("owner/name", "main"), ("owner/name@old", "old")])
def test_an_id_is_downloaded_once(hub, tmp_path, name, revision):
    done = asked_in_a_process(hub, tmp_path, name)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        file: content for file, content in FILES.items() if file != "pytorch_model.bin"
    }
    assert COMMITS[revision] in str(folder)


def test_the_text_alone_leaves_the_weights_there(hub, tmp_path):
    done = asked_in_a_process(hub, tmp_path, "owner/name", weights=False)
    assert done.returncode == 0, done.stderr
    assert "model.safetensors" not in {path.name for path in Path(done.stdout.strip()).iterdir()}
    assert not any("model.safetensors" in path for path in hub.asked)


def test_what_the_hub_has_not_got_is_an_error_that_says_so(hub, tmp_path):
    done = asked_in_a_process(hub, tmp_path, "owner/other")
    assert done.returncode != 0
    assert "HubError: there is no folder owner/other here, and the hub doesn't give 'owner/other': " in done.stderr


def test_a_folder_is_itself_and_nothing_else_is_looked_for(tmp_path):
    assert folder_of(str(tmp_path)) == tmp_path
    (tmp_path / "file").write_text("")
    for name in (str(tmp_path / "none"), str(tmp_path / "file"), "no id", "a/b/c", ""):
        with pytest.raises(HubError, match="is neither a folder nor an id on the hub"):
            folder_of(name)
    with pytest.raises(HubError, match="gs://bucket/model is no folder of this machine"):
        folder_of("gs://bucket/model")
