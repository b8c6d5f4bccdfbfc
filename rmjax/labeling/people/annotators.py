"""Who may judge: annotators by name or by token, and the sessions of their browsers."""

import hashlib
import re
import secrets
import unicodedata
from dataclasses import dataclass

from rmjax.errors import UserError
from rmjax.labeling.people.handing import enter
from rmjax.labeling.people.store import Store
from rmjax.preferences.record import FileError

SESSION_SECONDS = 30 * 24 * 3600
MOST_NAME = 60  # characters
LEAST_TOKEN = 16  # characters


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A browser that an annotator has signed in with; ``form_token`` is what its forms must bring."""

    annotator: str
    form_token: str


class SignInError(UserError):
    """A name or token with which nobody can sign in; the message is for the annotator."""


class People:
    """Lets annotators in.

    Args:
      store: where sessions are kept, of which only digests of the cookies are.
      tokens: the annotator of each token; None lets anybody in by a name.
    """

    def __init__(self, store: Store, tokens: dict[str, str] | None):
        self._store = store
        self.by_token = tokens is not None
        self._annotators = {_digest(token): name for token, name in (tokens or {}).items()}

    def sign_in(self, said: str, now: float) -> str:
        """Opens a session for the name or token; returns the cookie's value. SignInError where it is none."""
        if self.by_token:
            token = _digest(said.strip())
            if token not in self._annotators:
                raise SignInError("This token is not known. Please ask for yours.")
            annotator = self._annotators[token]
        else:
            token, annotator = "", checked_name(said)
        enter(self._store, annotator, now)
        value = secrets.token_urlsafe(32)
        with self._store.transaction() as database:
            database.execute("DELETE FROM sessions WHERE expires <= ?", (now,))
            row = (_digest(value), annotator, token, secrets.token_urlsafe(16), now + SESSION_SECONDS)
            database.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?)", row)
        return value

    def find(self, cookie: str, now: float) -> Session | None:
        """The session of a cookie; None where there is none, or its token is no longer known."""
        with self._store.transaction() as database:
            query = "SELECT * FROM sessions WHERE digest = ? AND expires > ?"
            row = database.execute(query, (_digest(cookie), now)).fetchone()
        if row is None or (self._annotators.get(row["token"]) != row["annotator"] if self.by_token else row["token"]):
            return None
        return Session(annotator=row["annotator"], form_token=row["form_token"])

    def sign_out(self, cookie: str) -> None:
        """Ends the session of a cookie."""
        with self._store.transaction() as database:
            database.execute("DELETE FROM sessions WHERE digest = ?", (_digest(cookie),))


def checked_name(said: str) -> str:
    """The name without spaces around it, composed (NFC); SignInError where it can't be one."""
    name = unicodedata.normalize("NFC", " ".join(said.split()))
    if not 1 <= len(name) <= MOST_NAME or not name.isprintable():
        raise SignInError(f"A name has 1 to {MOST_NAME} letters, digits, signs or spaces.")
    return name


def read_tokens(path: str) -> dict[str, str]:
    """The annotator of each token, from a file of lines ``NAME TOKEN``; empty lines and those after # are left out.

    A name may have spaces, a token none; several tokens may be of one annotator.

    Raises:
      FileError: for a line that is none, a token that is short or there twice, or a file without any.
    """
    tokens: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except UnicodeDecodeError:
        raise FileError(path, found="what is not UTF-8", right="lines NAME TOKEN in UTF-8") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        origin = f"{path}, line {number}"
        name, token = ["", *line.rsplit(maxsplit=1)][-2:]
        if not re.fullmatch(rf"\S{{{LEAST_TOKEN},}}", token):
            right = f"NAME TOKEN, the token of at least {LEAST_TOKEN} characters"
            raise FileError(origin, found=f"a token of {len(token)} characters", right=right)
        if token in tokens:
            raise FileError(origin, found="a token that an earlier line has", right="another token")
        try:
            tokens[token] = checked_name(name)
        except SignInError as error:
            raise FileError(origin, found=f"the name {name!r}", right=f"another. {error}") from None
    if not tokens:
        raise FileError(path, found="no tokens", right="lines NAME TOKEN")
    return tokens


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
