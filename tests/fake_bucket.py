"""Buckets of Google Cloud Storage in memory, behind as much of its JSON API as its clients use here.

gcsfs (behind etils' paths) and google-cloud-storage come here by ``STORAGE_EMULATOR_HOST``, TensorStore (behind Orbax)
by ``TENSORSTORE_GCS_HTTP_URL``. As there, an object is written whole or not at all, can't be appended to,
and a folder is no more than what names have in common.
"""

import base64
import contextlib
import email
import hashlib
import itertools
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

OBJECT = re.compile(r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)")
LISTING = re.compile(r"/storage/v1/b/([^/]+)/o/?")
BUCKET = re.compile(r"/storage/v1/b/([^/]+)/?")
UPLOAD = re.compile(r"/upload/storage/v1/b/([^/]+)/o/?")
COMPOSE = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/compose")
COPY = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/(?:rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)")
MOVE = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/moveTo/(?:b/[^/]+/)?o/([^/]+)")


class Buckets:
    """All objects by (bucket, name): their bytes and generation."""

    def __init__(self):
        self.objects: dict[tuple[str, str], tuple[bytes, int]] = {}
        self.uploaded: list[tuple[str, int]] = []  # name and bytes of each upload, in order
        self.uploads: dict[str, tuple[str, str, bytearray]] = {}  # resumable ones under way
        self.lost_answers = 0  # so many of the next objects that are joined are answered by an error
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)

    def put(self, bucket: str, name: str, content: bytes) -> dict:
        with self.lock:
            self.objects[bucket, name] = (content, next(self._numbers))
            self.uploaded.append((name, len(content)))
            return self.describe(bucket, name)

    def describe(self, bucket: str, name: str) -> dict:
        content, generation = self.objects[bucket, name]
        return {
            "kind": "storage#object", "bucket": bucket, "name": name, "id": f"{bucket}/{name}/{generation}",
            "size": str(len(content)), "generation": str(generation), "metageneration": "1", "etag": str(generation),
            "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode(), "storageClass": "STANDARD",
            "timeCreated": "2025-01-01T00:00:00.000Z", "updated": "2025-01-01T00:00:00.000Z",
            "contentType": "application/octet-stream",
        }  # fmt: skip

    def begin_upload(self, bucket: str, name: str) -> str:
        with self.lock:
            number = str(next(self._numbers))
            self.uploads[number] = (bucket, name, bytearray())
            return number

    def list(self, bucket: str, query: dict[str, str]) -> dict:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        items, prefixes = [], set()
        with self.lock:
            for where, name in sorted(self.objects):
                if where != bucket or not name.startswith(prefix) or name < query.get("startOffset", ""):
                    continue
                if "endOffset" in query and name >= query["endOffset"]:
                    continue
                rest = name[len(prefix) :]
                if delimiter and delimiter in rest:
                    prefixes.add(prefix + rest.split(delimiter)[0] + delimiter)
                else:
                    items.append(self.describe(bucket, name))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    buckets: Buckets

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path, query = self._parse()
        if match := OBJECT.fullmatch(path):
            self._answer_object(*map(unquote, match.groups()), query)
        elif match := LISTING.fullmatch(path):
            self._answer(self.buckets.list(match[1], query))
        elif match := BUCKET.fullmatch(path):
            self._answer({"kind": "storage#bucket", "name": match[1], "id": match[1], "location": "US"})
        else:
            self._answer({"error": {"code": 404, "message": f"unknown: {self.path}"}}, 404)

    def do_POST(self) -> None:
        path, query = self._parse()
        body = self._body()
        if match := UPLOAD.fullmatch(path):
            self._upload(match[1], query, body)
        elif match := COMPOSE.fullmatch(path):
            self._compose(*map(unquote, match.groups()), query, json.loads(body))
        elif match := COPY.fullmatch(path):
            self._copy(*map(unquote, match.groups()), moves=False)
        elif match := MOVE.fullmatch(path):
            bucket, source, target = map(unquote, match.groups())
            self._copy(bucket, source, bucket, target, moves=True)
        else:
            self._answer({"error": {"code": 404, "message": f"unknown: {self.path}"}}, 404)

    def do_PUT(self) -> None:
        path, query = self._parse()
        self._upload(UPLOAD.fullmatch(path)[1], query, self._body())

    def do_DELETE(self) -> None:
        path, _ = self._parse()
        bucket, name = map(unquote, OBJECT.fullmatch(path).groups())
        with self.buckets.lock:
            found = self.buckets.objects.pop((bucket, name), None)
        self._answer({} if found else self._missing(name), 204 if found else 404)

    def _parse(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        return parts.path, {name: values[0] for name, values in query.items()}

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _upload(self, bucket: str, query: dict[str, str], body: bytes) -> None:
        kind, name = query.get("uploadType"), query.get("name", "")
        if number := query.get("upload_id"):
            self._continue_upload(number, body)
            return
        if kind == "multipart":
            header = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            boundary = email.message_from_bytes(header).get_boundary().encode()
            _, described, content, _ = re.split(rb"(?:\r?\n)?--" + re.escape(boundary), body, maxsplit=3)
            name = json.loads(_after_headers(described))["name"]
            body = _after_headers(content)
        elif kind == "resumable":
            name = name or json.loads(body)["name"]
            number = self.buckets.begin_upload(bucket, name)
            place = f"http://{self.headers['Host']}{urlsplit(self.path).path}?uploadType=resumable&upload_id={number}"
            self._answer({}, headers={"Location": place})
            return
        with self.buckets.lock:
            if self._is_expected(bucket, name, query):
                self._answer(self.buckets.put(bucket, name, body))

    def _is_expected(self, bucket: str, name: str, query: dict[str, str]) -> bool:
        """Whether the object is as the request takes it to be; says so where it isn't."""
        generation = self.buckets.objects.get((bucket, name), (b"", 0))[1]
        if expected := int(query.get("ifGenerationMatch", generation)) == generation:
            return expected
        self._answer({"error": {"code": 412, "message": "conditionNotMet"}}, 412)
        return False

    def _compose(self, bucket: str, name: str, query: dict[str, str], body: dict) -> None:
        with self.buckets.lock:
            if not self._is_expected(bucket, name, query):
                return
            sources = [self.buckets.objects[bucket, source["name"]][0] for source in body["sourceObjects"]]
            described = self.buckets.put(bucket, name, b"".join(sources))
            self.buckets.uploaded.pop()
            if self.buckets.lost_answers:
                self.buckets.lost_answers -= 1
                self._answer({"error": {"code": 503, "message": "backendError"}}, 503)
                return
        self._answer(described)

    def _continue_upload(self, number: str, body: bytes) -> None:
        bucket, name, content = self.buckets.uploads[number]
        content += body
        if self.headers.get("Content-Range", "/0").endswith("/*"):
            self._answer({}, 308, {"Range": f"bytes=0-{len(content) - 1}"})
        else:
            self._answer(self.buckets.put(bucket, name, bytes(content)))

    def _copy(self, bucket: str, name: str, to_bucket: str, to_name: str, *, moves: bool) -> None:
        with self.buckets.lock:
            if (bucket, name) not in self.buckets.objects:
                self._answer(self._missing(name), 404)
                return
            described = self.buckets.put(to_bucket, to_name, self.buckets.objects[bucket, name][0])
            self.buckets.uploaded.pop()
            if moves:
                del self.buckets.objects[bucket, name]
        self._answer(described if moves else {"done": True, "resource": described})

    def _answer_object(self, bucket: str, name: str, query: dict[str, str]) -> None:
        with self.buckets.lock:
            if (bucket, name) not in self.buckets.objects:
                self._answer(self._missing(name), 404)
                return
            content, generation = self.buckets.objects[bucket, name]
            described = self.buckets.describe(bucket, name)
        if query.get("alt") != "media":
            self._answer(described)
            return
        status, headers = 200, {"x-goog-generation": str(generation), "ETag": str(generation)}
        if found := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
            first = int(found[1]) if found[1] else len(content) - int(found[2])
            last = min(int(found[2]), len(content) - 1) if found[1] and found[2] else len(content) - 1
            if first >= len(content):
                self._answer({}, 416)
                return
            status, headers["Content-Range"] = 206, f"bytes {first}-{last}/{len(content)}"
            content = content[first : last + 1]
        self._send(status, content, "application/octet-stream", headers)

    def _missing(self, name: str) -> dict:
        return {"error": {"code": 404, "message": f"No such object: {name}"}}

    def _answer(self, value: dict, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"" if status == 204 else json.dumps(value).encode(), "application/json", headers or {})

    def _send(self, status: int, content: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # of a client that has changed its mind
            self.end_headers()
            self.wfile.write(content)


def _after_headers(part: bytes) -> bytes:
    """What follows the empty line that ends a part's headers."""
    return re.split(rb"\r?\n\r?\n", part.lstrip(b"\r\n"), maxsplit=1)[1]


@contextlib.contextmanager
def serving() -> Iterator[tuple[Buckets, dict[str, str]]]:
    """(the buckets, the environment variables that lead a process to them)."""
    buckets = Buckets()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"buckets": buckets}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # of connections that clients drop when they end
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        variables = {
            "STORAGE_EMULATOR_HOST": address,
            "TENSORSTORE_GCS_HTTP_URL": address,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
            "GOOGLE_CLOUD_PROJECT": "none",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # which asks over gRPC what kind of bucket it is
        }
        yield buckets, variables
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
