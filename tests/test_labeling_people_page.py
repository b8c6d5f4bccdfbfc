"""The page without JavaScript: what is shown is what is recorded, and nobody else's form or text does anything."""

import dataclasses
import re

import pytest
from labeling_cases import Annotator, Clock, make_store, make_tasks
from starlette.testclient import TestClient
from test_labeling_people_rendering import HOSTILE

from rmjax.config import ConfigError
from rmjax.labeling.people.annotators import read_tokens
from rmjax.labeling.people.handing import Rules
from rmjax.labeling.people.judged import read_judged
from rmjax.labeling.people.page import PageSettings, make_app
from rmjax.labeling.people.page_guard import MOST_FORM_BYTES
from rmjax.labeling.people.page_process import allowed_hosts
from rmjax.preferences.record import FileError, Message, Strength
from rmjax.preferences.tasks import Task

SETTINGS = PageSettings(question="Which is kinder?")
TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture
def clock():
    return Clock()


def comparisons(store):
    return [one for preference in read_judged(store).preferences for one in preference.comparisons]


@pytest.mark.parametrize(("answer", "side"), [("first", 0), ("second", 1), ("tie", None), ("skip", None)])
def test_what_is_pressed_is_what_is_exported(tmp_path, clock, answer, side):
    store = make_store(tmp_path / "job.sqlite", make_tasks(1))
    mia = Annotator(store, SETTINGS, clock, "mia")
    assert "Which is kinder?" in mia.page
    shown = mia.shown()
    clock.now += 7.5
    assert mia.judge(answer) == 303
    assert "All pairs are judged" in mia.page or answer == "skip"
    if answer == "skip":
        assert not comparisons(store)
        return
    (preference,) = read_judged(store).preferences
    (one,) = preference.comparisons
    left = preference.responses[one.left]
    assert one.shown_first.value == ("left" if shown[0] == left else "right")
    assert one.probability == (0.5 if side is None else float(shown[side] == left))
    assert (one.annotator, one.seconds) == ("mia", 7.5)


@pytest.mark.parametrize("value", ["first-much", "second-slightly", "second-clearly", "tie"])
def test_the_strength_is_asked_for_where_it_is_wanted(tmp_path, clock, value):
    store = make_store(tmp_path / "job.sqlite", make_tasks(1))
    mia = Annotator(store, dataclasses.replace(SETTINGS, strength=True), clock, "mia")
    assert mia.judge("first") == 400
    mia.look()
    assert mia.judge(value) == 303
    (one,) = comparisons(store)
    assert one.strength == (None if value == "tie" else Strength(value.partition("-")[2]))


def test_progress_undo_and_coming_back_the_next_day(tmp_path, clock):
    store = make_store(tmp_path / "job.sqlite", make_tasks(3))
    mia = Annotator(store, SETTINGS, clock, "mia")
    before = mia.prompt(), mia.shown()
    clock.now += 5
    mia.judge("first")
    assert '<b id="mine">1</b> saved' in mia.page
    assert "All: 0 %" in mia.page
    assert "median 5.0 s" in mia.page
    assert mia.undo() == 303
    assert (mia.prompt(), mia.shown()) == before
    assert "taken back" in mia.page
    mia.judge("second")
    clock.now += 24 * 3600
    mia.client.close()
    later = Annotator(store, SETTINGS, clock)
    later.client.cookies = mia.client.cookies
    assert '<b id="mine">1</b> saved' in later.look()
    clock.now += 31 * 24 * 3600
    assert "Your name" in later.look()  # a session ends in the end; the name brings the work back
    later.sign_in(" mia ")
    assert '<b id="mine">1</b> saved' in later.page


def test_two_annotators_never_see_the_same_pair_at_once(tmp_path, clock):
    store = make_store(tmp_path / "job.sqlite", make_tasks(2))
    mia, ben = (Annotator(store, SETTINGS, clock, name) for name in ("mia", "ben"))
    assert mia.prompt() != ben.prompt()
    assert "no pair for you at the moment" in Annotator(store, SETTINGS, clock, "zoë").page
    mia.judge("tie")
    assert "no pair for you at the moment" in mia.page


def test_a_judgment_of_a_pair_that_was_handed_on_is_told_not_to_be_stored(tmp_path, clock):
    store = make_store(tmp_path / "job.sqlite", make_tasks(1))
    mia = Annotator(store, SETTINGS, clock, "mia")
    clock.now += Rules().lease_seconds + 1
    Annotator(store, SETTINGS, clock, "ben")
    mia.judge("first")
    assert "that judgment was not stored" in mia.page
    assert not comparisons(store)


def test_an_answer_beside_another_one_is_told_not_to_be_stored(tmp_path, clock):
    """Two tabs of one annotator show one pair."""
    mia = Annotator(make_store(tmp_path / "job.sqlite", make_tasks(2)), SETTINGS, clock, "mia")
    lease = mia.field("lease")
    mia.judge("first")
    mia.send("/judge", lease=lease, answer="first")
    assert 'id="note"' not in mia.page  # it is what stands
    mia.send("/judge", lease=lease, answer="second")
    assert "this answer was not stored" in mia.page
    number = mia.field("judgment")
    mia.undo()
    mia.send("/judge", lease=lease, answer="first")
    assert "this answer was not stored" in mia.page
    mia.send("/undo", judgment=number)
    assert "nothing is taken back" in mia.page
    assert '<b id="mine">0</b> saved' in mia.page


def test_a_pair_that_is_shown_again_tells_the_page_for_how_long_it_is_out(tmp_path, clock):
    mia = Annotator(make_store(tmp_path / "job.sqlite", make_tasks(1)), SETTINGS, clock, "mia")
    for address, seconds in (("/", 0.0), ("/?plain", 180.0), ("/", 360.0)):
        assert f'data-before="{seconds}"' in mia.look(address)
        clock.now += 180


def test_the_texts_can_be_seen_as_they_are_written(tmp_path, clock):
    tasks = [Task(id=str(n), prompt=f"**Q{n}**", responses=("*a*", "b")) for n in range(2)]
    mia = Annotator(make_store(tmp_path / "job.sqlite", tasks), SETTINGS, clock, "mia")
    assert "<strong>Q0</strong>" in mia.page
    mia.look("/?plain")
    assert "**Q0**" in mia.page
    mia.judge("tie", plain="1")
    assert "**Q1**" in mia.page


def test_the_conversation_is_shown_turn_by_turn(tmp_path, clock):
    prompt = (Message(role="system", content="Be kind."), Message(role="user", content="Hello"))
    responses = tuple((Message(role="assistant", content=text),) for text in ("Hi", "Go away"))
    store = make_store(tmp_path / "job.sqlite", [Task(id="t", prompt=prompt, responses=responses)])
    page = Annotator(store, SETTINGS, clock, "mia").page
    assert re.findall(r'<p class="speaker">(\w+)</p>', page) == ["System", "User"]
    assert page.count('dir="auto"') == 4


def test_no_text_adds_a_form_a_script_or_a_field_to_the_page(tmp_path, clock):
    harmless = [Task(id="0", prompt="q", responses=("a", "b"))]
    tasks = [Task(id=str(n), prompt=text, responses=(text, text + "x" * 100_000)) for n, text in enumerate(HOSTILE)]
    shape = structure(Annotator(make_store(tmp_path / "a.sqlite", harmless), SETTINGS, clock, "mia").page)
    mia = Annotator(make_store(tmp_path / "b.sqlite", tasks), SETTINGS, clock, "mia")
    for text in HOSTILE:
        assert structure(mia.look()) == shape, text
        assert structure(mia.look("/?plain")) == shape, text
        assert mia.judge("skip") == 303


def structure(page: str) -> list[str]:
    """What of a page can do something: its forms, fields, buttons and scripts, in order, but for undo and plain."""
    page = re.sub(r'<form method="post" action="/undo">.*?</form>', "", page, flags=re.DOTALL)
    page = page.replace('<input type="hidden" name="plain" value="1">', "")
    doing = re.findall(r"<(?:form|input|button|script|iframe|object|style|base|meta|link|img|svg)\b[^>]*", page)
    return [re.sub(r'value="[^"]*"', "", line) for line in doing]


def test_every_answer_says_what_may_run(tmp_path, clock):
    store = make_store(tmp_path / "job.sqlite", make_tasks(1))
    mia = Annotator(store, SETTINGS, clock, "mia")
    for address in ("/", "/static/page.js", "/static/page.css", "/none", "/static/../page.py"):
        headers = mia.client.get(address).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?! src=)| style=| on\w+=|javascript:", mia.page)


def test_a_form_from_elsewhere_is_refused(tmp_path, clock):
    store = make_store(tmp_path / "job.sqlite", make_tasks(1))
    mia = Annotator(store, SETTINGS, clock, "mia")
    cookie = mia.client.post("/sign-in", data={"annotator": "mia"}, follow_redirects=False).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
    mia.look()
    form = {"lease": mia.field("lease"), "answer": "first"}
    token = mia.field("form_token")
    post = mia.client.post
    assert post("/judge", data=form).status_code == 403
    assert post("/judge", data=form | {"form_token": "é"}).status_code == 403
    for origin in ("https://example.org", "null", "http://127.0.0.1:8001", "http://["):
        assert post("/judge", data=form | {"form_token": token}, headers={"origin": origin}).status_code == 403
    for host in ("example.org:8000", "[", "[127.0.0.1", ""):
        answer = mia.client.get("/", headers={"host": host})
        assert answer.status_code == 421
        assert answer.text.startswith("The page is at http://localhost or http://127.0.0.1")
    for host in ("localhost", "127.0.0.1:1", "[::1]:8000"):
        assert mia.client.get("/", headers={"host": host}).status_code == 200
    stranger = TestClient(make_app(store, SETTINGS, clock), base_url="http://127.0.0.1:8000")
    assert stranger.post("/judge", data=form | {"form_token": token}).status_code == 401
    ben = Annotator(store, SETTINGS, clock, "ben")
    assert ben.client.post("/judge", data=form | {"form_token": token}).status_code == 403
    assert not comparisons(store)
    own = {"origin": "http://127.0.0.1:8000"}
    assert post("/judge", data=form | {"form_token": token}, headers=own).status_code == 200
    assert len(comparisons(store)) == 1


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("/judge", b"answer=" + b"x" * MOST_FORM_BYTES, 413),
        ("/judge", b"&".join(b"a=%d" % n for n in range(60)), 400),
        ("/judge", "answer=é".encode(), 400),
        ("/judge", b"answer=%ff", 400),
        ("/judge", b"", 403),
        ("/none", b"", 404),
        ("/", b"", 405),
    ],
)
def test_what_is_no_form_is_refused_in_words(tmp_path, clock, action, body, status):
    mia = Annotator(make_store(tmp_path / "job.sqlite", make_tasks(1)), SETTINGS, clock, "mia")
    answer = mia.client.post(action, content=body, headers={"content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code == status
    assert "Back to the page" in answer.text


@pytest.mark.parametrize("fields", [{"answer": "both"}, {"answer": ""}, {"answer": "first-much"}, {}])
def test_there_are_no_other_answers(tmp_path, clock, fields):
    store = make_store(tmp_path / "job.sqlite", make_tasks(1))
    mia = Annotator(store, SETTINGS, clock, "mia")
    assert mia.send("/judge", lease=mia.field("lease"), **fields) == 400
    assert not comparisons(store)


@pytest.mark.parametrize("said", ["", "  ", "x" * 61, "a\u202eb", "a\nb\0"])
def test_what_is_no_name_is_refused(tmp_path, clock, said):
    mia = Annotator(make_store(tmp_path / "job.sqlite", make_tasks(1)), SETTINGS, clock)
    assert mia.sign_in(said) == 403
    assert "A name has" in mia.page


def test_a_name_is_only_ever_text(tmp_path, clock):
    mia = Annotator(make_store(tmp_path / "job.sqlite", make_tasks(1)), SETTINGS, clock, "<b>mia</b>")
    assert "&lt;b&gt;mia&lt;/b&gt;" in mia.page


def test_tokens_let_their_owners_in_and_no_longer_than_they_are_in_the_file(tmp_path, clock):
    path = tmp_path / "tokens.txt"
    path.write_text(f"# who may judge\n\nMia B. {TOKEN}\n ben\t{OTHER} \n")
    tokens = read_tokens(str(path))
    assert tokens == {TOKEN: "Mia B.", OTHER: "ben"}
    store = make_store(tmp_path / "job.sqlite", make_tasks(2))
    settings = dataclasses.replace(SETTINGS, tokens=tokens)
    mia = Annotator(store, settings, clock)
    assert mia.sign_in("Mia B.") == 403
    assert mia.sign_in(TOKEN[:-1]) == 403
    mia.sign_in(TOKEN)
    assert "Mia B." in mia.page
    for kept, shown in ((settings, "Mia B."), (dataclasses.replace(SETTINGS, tokens={OTHER: "ben"}), "Your token")):
        later = Annotator(store, kept, clock)
        later.client.cookies = mia.client.cookies
        assert shown in later.look()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mia short", "line 1: found a token of 5 characters"),
        (f"{TOKEN}", "line 1: found the name ''"),
        (f"mia {TOKEN}\nben {TOKEN}", "line 2: found a token that an earlier line has"),
        ("# nobody\n", "found no tokens"),
    ],
)
def test_a_file_that_holds_no_tokens_is_an_error_with_its_place(tmp_path, text, message):
    (tmp_path / "tokens.txt").write_text(text)
    with pytest.raises(FileError, match=message):
        read_tokens(str(tmp_path / "tokens.txt"))


def test_signing_out_ends_the_session(tmp_path, clock):
    store = make_store(tmp_path / "job.sqlite", make_tasks(1))
    mia = Annotator(store, SETTINGS, clock, "mia")
    cookies = dict(mia.client.cookies)
    assert mia.send("/sign-out") == 303
    mia.client.cookies.update(cookies)
    assert "Your name" in mia.look()
    assert Annotator(store, SETTINGS, clock, "ben").prompt() == "Question 0?"  # and lets the pair go


def test_other_machines_need_tokens():
    assert "127.0.0.1" in allowed_hosts("127.0.0.1", by_token=False)
    assert allowed_hosts("0.0.0.0", by_token=True) is None
    assert allowed_hosts("127.0.0.1", by_token=True) is None  # behind a proxy, which has a name of its own
    with pytest.raises(ConfigError, match=r"--host is '0.0.0.0'.*--tokens"):
        allowed_hosts("0.0.0.0", by_token=False)
