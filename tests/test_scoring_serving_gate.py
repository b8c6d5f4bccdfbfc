"""What is no request of a protocol: 4xx with a message, whatever it is."""

import json

import pytest
from served import served

from rmjax.scoring.serving import ServerSettings

LONG = "rains " * 200
ROW = {"prompt": "why", "response": "it rains"}
JSON = {"Content-Type": "application/json"}
POSTED = ("/", "/get_reward", "/classify", "/v1/embeddings", "/score", "/v1/score", "/v1/score/evaluation",
          "/v1/rewards", "/v1/rewards/batch")  # fmt: skip


@pytest.fixture(scope="module")
def client():
    with served(raises=False) as client:
        yield client


def body(**changes: object) -> bytes:
    return json.dumps({**ROW, **changes}).encode()


BAD: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("cut off", b'{"prompt": "why"', JSON, 400, "invalid JSON"),
    ("no JSON", b"why", JSON, 400, "invalid JSON"),
    ("nothing", b"", JSON, 422, "Field required"),
    ("a list", b"[1]", JSON, 400, "not an object"),
    ("NaN", b'{"prompt": NaN}', JSON, 400, "NaN is not JSON"),
    ("Infinity", b'{"prompt": -Infinity}', JSON, 400, "-Infinity is not JSON"),
    ("beyond float64", b'{"prompt": 1e999}', JSON, 400, "beyond what a float64 holds"),
    ("a huge integer", b'{"prompt": ' + b"9" * 5000 + b"}", JSON, 400, "4300 digits"),
    ("brackets", b"[" * 100_000, JSON, 400, "recursion"),
    ("a null byte", b'{"prompt": "\x00"}', JSON, 400, "Invalid control character"),
    ("no UTF-8", b'{"prompt": "\xff"}', JSON, 400, "invalid UTF-8"),
    ("a field twice", b'{"prompt": "a", "prompt": "b"}', JSON, 400, "duplicate field"),
    ("half a surrogate pair", body(prompt="\ud800"), JSON, 422, "lone surrogate"),
    ("and in a role", body(prompt=[{"role": "\udc00", "content": "a"}]), JSON, 422, "role"),
    ("and as a field", body(**{"\ud800": 1}), JSON, 422, "valid string"),
    ("a form", b"prompt=why", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
    ("no type", body(), {}, 415, "the content type is none"),
    ("text", body(), {"Content-Type": "text/plain"}, 415, "text/plain"),
    ("a number for a prompt", body(prompt=7), JSON, 422, "valid string"),
    ("true for a response", body(response=True), JSON, 422, "valid string"),
    ("text for responses", b'{"prompt": "a", "responses": "b"}', JSON, 422, "valid list"),
    ("no responses", b'{"prompt": "a", "responses": []}', JSON, 422, "at least 1"),
    ("no response", b'{"prompt": "a"}', JSON, 422, "one of 'response' and 'responses'"),
    ("two kinds", body(responses=["a"]), JSON, 422, "ambiguous"),
    ("no prompt", b'{"response": "a"}', JSON, 422, "missing field"),
    ("a blank prompt", body(prompt=" \n"), JSON, 422, "empty field"),
    ("an unknown field", body(respons="a"), JSON, 422, "respons: Extra inputs"),
    ("an unknown role", body(prompt=[{"role": "human", "content": "a"}]), JSON, 422, "'system'"),
    ("no content", body(prompt=[{"role": "user"}]), JSON, 422, "content: Field required"),
    ("messages beside a prompt", body(messages=[{"role": "user", "content": "a"}] * 2), JSON, 422, "ambiguous"),
    ("nobody's turn", b'{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}', JSON, 422,
     "wrong role"),
    ("a long response", body(response=LONG), JSON, 422, "response too long: found 401 tokens"),
    ("a long system turn", body(prompt=[{"role": "system", "content": LONG}, {"role": "user", "content": "a"}]), JSON,
     422, "system turn too long"),
    ("a head of none", body(head="speed"), JSON, 422, "names no reward head"),
    ("too many responses", b'{"prompt": "a", "responses": [' + b'"b",' * 1024 + b'"b"]}', JSON, 422, "at most 1024"),
    ("too many bytes", body(response="a" * (4 << 20)), JSON, 413, "at most 4194304 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "headers", "status", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_bad_input_is_refused_with_a_message(client, content, headers, status, message):
    answer = client.post("/v1/rewards", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]
    assert client.post("/v1/rewards", json=ROW).status_code == 200


@pytest.mark.parametrize("path", POSTED)
@pytest.mark.parametrize("case", [case for case in BAD if case[3] in (400, 415)][:18], ids=lambda case: case[0])
def test_no_route_takes_what_is_no_json(client, path, case):
    answer = client.post(path, content=case[1], headers=case[2])
    assert (answer.status_code, case[4] in answer.json()["error"]) == (case[3], True)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/", {"query": []}),
        ("/", {"query": ["a", 1]}),
        ("/", {"query": ["a", "\ud800"]}),
        ("/", {"query": ["a"], "prompts": ["a", "b"]}),
        ("/get_reward", {"prompts": ["a"], "responses": ["a", "b"]}),
        ("/get_reward", {"prompts": ["a"], "responses": [LONG]}),
        ("/get_reward", {"texts": ["a"]}),
        ("/classify", {"input": [1, 2]}),
        ("/classify", {"input": "a", "activation": "no"}),
        ("/classify", {}),
        ("/v1/embeddings", {"input": {"text": "a"}}),
        ("/score", {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}),
        ("/v1/score/evaluation", {"messages": [{"role": "user", "content": "a"}]}),
        ("/v1/score/evaluation", {"messages": ["a"], "max_length": 0}),
        ("/v1/rewards/batch", {"requests": [ROW, {"prompt": "a"}]}),
        ("/v1/rewards/batch", {"requests": []}),
    ],
)
def test_wrong_fields_of_every_protocol_are_named(client, path, content):
    answer = client.post(path, content=json.dumps(content), headers=JSON)
    assert answer.status_code == 422, answer.text
    assert any(name in answer.json()["error"] for name in (*content, "prompts", "input: Field required", "requests[1]"))


KINDS = {
    "cut off": "invalid JSON", "a field twice": "duplicate field", "nothing": "invalid fields",
    "a form": "wrong content type", "two kinds": "missing or ambiguous field", "a blank prompt": "empty field",
    "a head of none": "invalid fields", "too many responses": "too many responses", "too many bytes": "body too large",
    "a long response": "response too long", "a long system turn": "system turn too long",
}  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_programs_read_the_kind_of_a_refusal(client, name, kind):
    (content, headers), *_ = [case[1:3] for case in BAD if case[0] == name]
    assert client.post("/v1/rewards", content=content, headers=headers).json()["kind"] == kind


def test_a_refusal_says_what_where_and_how_much(client):
    answer = client.post("/v1/rewards", json={"prompt": "why", "responses": ["a", LONG, LONG]}).json()
    place, parts = "the request: field 'responses[1]'", (answer["kind"], answer["found"], answer["right"])
    assert answer["error"] == "{}: {}: found {}; right would be {}".format(place, *parts)
    assert answer["found"] == "401 tokens, the model's limit text.max_response_tokens is 40"
    assert (answer["field"], answer["request"], answer["response"]) == ("responses[1]", 0, 1)
    answer = client.post("/v1/rewards/batch", json={"requests": [ROW, {"prompt": "why", "responses": ["a", LONG]}]})
    assert answer.json()["error"].startswith("requests[1]: field 'responses[1]': response too long")
    assert (answer.json()["request"], answer.json()["response"]) == (1, 1)
    system = [{"role": "system", "content": LONG}, {"role": "user", "content": "a"}]
    answer = client.post("/v1/rewards", json={"prompt": system, "responses": ["a", "b"]}).json()
    assert (answer["field"], answer["request"]) == ("prompt", 0)
    assert "response" not in answer
    assert client.post("/v1/rewards", json={"prompt": "a", "responses": ["b"] * 1025}).json()["limit"] == 1024
    assert client.get("/nowhere").json() == {"error": "Not Found", "kind": "not found"}


def test_a_body_that_does_not_say_how_large_it_is_is_read_up_to_the_limit():
    with served(max_request_bytes=1000) as client:
        for count, status in ((9, 200), (11, 413)):
            parts = [b'{"prompt": "why",', *[b" " * 95] * count, b'"response": "it rains"}']
            answer = client.post("/v1/rewards", content=iter(parts), headers=JSON)
            assert (answer.status_code, "error" in answer.json()) == (status, status == 413), answer.text


def test_a_key_is_asked_for_but_by_what_watches():
    with served(api_key="secret") as client:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "secret"},
            {"Authorization": "Bearer ü"},
        ):
            headers = {name: value.encode("latin-1") for name, value in headers.items()}
            answer = client.post("/v1/rewards", json=ROW, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "secret" not in answer.text
        good = {"Authorization": "Bearer secret"}
        for path in ("/metrics", "/v1/models", "/docs", "/redoc", "/openapi.json"):
            assert client.get(path).status_code == 401, path
            assert client.get(path, headers=good).status_code == 200, path
        assert client.post("/v1/rewards", json=ROW, headers=good).status_code == 200
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        document = client.get("/openapi.json", headers=good).json()
        assert document["paths"]["/v1/rewards"]["post"]["security"] == [{"HTTPBearer": []}]
    with served() as client:
        assert {client.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json", "/metrics")} == {200}
    assert "secret" not in repr(ServerSettings(model="m", api_key="secret"))
