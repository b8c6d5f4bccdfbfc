"""The page on which people judge: one prompt, two responses, one question. It works without JavaScript."""

import functools
import hmac
import pathlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import jinja2
from absl import logging
from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from rmjax.errors import UserError
from rmjax.labeling.people.annotators import SESSION_SECONDS, People, Session, SignInError
from rmjax.labeling.people.handing import Answer, Rules, Taken, find_progress, hand_out, judge, release, undo
from rmjax.labeling.people.page_guard import Guard, read_form
from rmjax.labeling.people.rendering import prompt_turns, response_turns
from rmjax.labeling.people.store import Store
from rmjax.preferences.record import Strength

FILES = pathlib.Path(__file__).parent / "page_files"
Form = Annotated[dict[str, str], Depends(read_form)]


@dataclass(frozen=True, kw_only=True, slots=True)
class PageSettings:
    """What the page asks, and whom.

    Attributes:
      question: in plain words.
      rules: how pairs are handed out.
      strength: asks how much better the preferred response is.
      tokens: the annotator of each token; None lets anybody in by a name.
      hosts: the names under which the page may be asked for; None for any.
    """

    question: str
    rules: Rules = field(default_factory=Rules)
    strength: bool = False
    tokens: dict[str, str] | None = None
    hosts: frozenset[str] | None = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Button:
    """A button of the page: what its form sends, what it says, and the keys that press it."""

    value: str
    label: str
    keys: str


_PLAIN = (
    Button("first", "1 is better", "1 ArrowLeft"),
    Button("tie", "Tie", "t"),
    Button("second", "2 is better", "2 ArrowRight"),
    Button("skip", "Skip", "s"),
)
_STRONG = (
    Button("first-much", "1 is much better", "1"),
    Button("first-clearly", "1 is clearly better", "2"),
    Button("first-slightly", "1 is slightly better", "3"),
    Button("tie", "Tie", "4 t"),
    Button("second-slightly", "2 is slightly better", "5"),
    Button("second-clearly", "2 is clearly better", "6"),
    Button("second-much", "2 is much better", "7"),
    Button("skip", "Skip", "s"),
)


def make_app(store: Store, settings: PageSettings, clock: Callable[[], float] = time.time) -> FastAPI:
    """The page over a store. ``clock`` gives the seconds since 1970."""
    # No generated documentation: whoever finds the page is an annotator.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    page = _Page(store, settings, clock)
    app.get("/", response_class=HTMLResponse)(page.show)
    app.post("/sign-in")(page.sign_in)
    app.post("/sign-out")(page.sign_out)
    app.post("/judge")(page.judge)
    app.post("/undo")(page.undo)
    app.mount("/static", StaticFiles(directory=FILES / "static"))
    app.exception_handler(AnyHTTPException)(page.refuse)
    app.exception_handler(UserError)(page.tell_of_store)
    app.add_middleware(Guard, hosts=settings.hosts)
    return app


class _Page:
    """What the routes do. Those that wait for the disk are plain functions, which FastAPI runs in threads."""

    def __init__(self, store: Store, settings: PageSettings, clock: Callable[[], float]):
        self._store = store
        self._settings = settings
        self._clock = clock
        self._people = People(store, settings.tokens)
        self._buttons = _STRONG if settings.strength else _PLAIN
        # Cookies of one host are shared by all its ports: each store has a name of its own.
        self._cookie = f"rmjax_label_{store.setting('store')}"
        loader = jinja2.FileSystemLoader(FILES)
        self._templates = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )

    def show(self, request: Request, plain: str | None = None, note: str = "") -> Response:
        """The next pair; the way in for whoever hasn't signed in."""
        session = self._session(request)
        if session is None:
            return self._sign_in_page("", 200)
        now = self._clock()
        lease = hand_out(self._store, session.annotator, self._settings.rules, now)
        progress = find_progress(self._store, session.annotator, self._settings.rules)
        values: dict[str, Any] = {"session": session, "progress": progress, "note": note, "plain": plain is not None}
        if lease is None:
            return self._render("done.html", **values)
        response = functools.partial(response_turns, lease.task.prompt, markdown=plain is None)
        return self._render(
            "pair.html", **values, lease=lease, question=self._settings.question, buttons=self._buttons,
            before=max(0.0, now - lease.handed_at),
            prompt=prompt_turns(lease.task.prompt, markdown=plain is None),
            responses=(response(lease.first), response(lease.second)),
        )  # fmt: skip

    def sign_in(self, request: Request, form: Form) -> Response:
        try:
            value = self._people.sign_in(form.get("annotator", ""), self._clock())
        except SignInError as error:
            return self._sign_in_page(str(error), 403)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            self._cookie, value, max_age=SESSION_SECONDS, httponly=True, samesite="lax",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return answer

    def sign_out(self, request: Request, form: Form) -> Response:
        session = self._checked(request, form)
        release(self._store, session.annotator)
        self._people.sign_out(request.cookies[self._cookie])
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(self._cookie)
        return answer

    def judge(self, request: Request, form: Form) -> Response:
        """Answers when the judgment is on the disk."""
        session = self._checked(request, form)
        if form.get("answer") not in {button.value for button in self._buttons}:
            raise HTTPException(400, "There is no such answer.")
        said, _, strength = form["answer"].partition("-")
        taken = judge(
            self._store, session.annotator, form.get("lease", ""), Answer(said), now=self._clock(),
            strength=Strength(strength) if strength else None, seconds=_number(form.get("seconds", "")),
        )  # fmt: skip
        return _back(form, {Taken.GONE: "gone", Taken.OTHERWISE: "otherwise"}.get(taken, ""))

    def undo(self, request: Request, form: Form) -> Response:
        session = self._checked(request, form)
        number = form.get("judgment", "")
        done = number.isdecimal() and len(number) < 18
        done = done and undo(self._store, session.annotator, int(number), self._settings.rules, self._clock())
        return _back(form, "undone" if done else "kept")

    async def refuse(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, AnyHTTPException)
        return self._render("refused.html", error.status_code, message=error.detail)

    async def tell_of_store(self, request: Request, error: Exception) -> Response:
        """For the annotator that it wasn't stored; why, and which file, for whoever reads the log."""
        logging.error("%s", error)
        message = "What you did was not stored. Please try again; if that doesn't help, tell whoever runs this page."
        return self._render("refused.html", 503, message=message)

    def _session(self, request: Request) -> Session | None:
        cookie = request.cookies.get(self._cookie)
        return self._people.find(cookie, self._clock()) if cookie else None

    def _checked(self, request: Request, form: dict[str, str]) -> Session:
        """The session of a form that the page itself made."""
        session = self._session(request)
        if session is None:
            raise HTTPException(401, "You are no longer signed in.")
        if not hmac.compare_digest(form.get("form_token", "").encode(), session.form_token.encode()):
            raise HTTPException(403, "This form is not from your page.")
        return session

    def _sign_in_page(self, fault: str, status: int) -> Response:
        return self._render("sign_in.html", status, fault=fault, by_token=self._people.by_token)

    def _render(self, template: str, status: int = 200, **values: Any) -> Response:
        return HTMLResponse(self._templates.get_template(template).render(**values), status)


def _number(said: str) -> float | None:
    """The number that the page's own clock has measured, where there is one."""
    try:
        return float(said)
    except ValueError:
        return None


def _back(form: dict[str, str], note: str) -> RedirectResponse:
    """Back to the page, which goes on as it was shown."""
    query = "&".join([*(["plain"] if form.get("plain") else []), *([f"note={note}"] if note else [])])
    return RedirectResponse(f"/?{query}" if query else "/", 303)
