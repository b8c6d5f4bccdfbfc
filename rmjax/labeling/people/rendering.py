"""Texts of models as safe HTML: Markdown becomes a few harmless elements, and all else is text.

Three walls, each of which would do alone: the Markdown parser makes text of any HTML in its source; what it gives is
cleaned by a list of the allowed elements and attributes; and the page's Content-Security-Policy lets no script of a
text run and nothing be loaded from elsewhere.
"""

import functools
from dataclasses import dataclass

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from rmjax.preferences.conversations import is_blank
from rmjax.preferences.record import Text
from rmjax.preferences.transcripts import ASSISTANT, is_transcript, turns_of

MOST_MARKDOWN = 20_000  # characters; a longer text is shown as it is written, since the worst would take seconds
MOST_NESTED = 40  # levels; the parser drops what is nested deeper than 100
_SPEAKERS = {"user": "User", "assistant": "Assistant", "system": "System"}
_TAGS = frozenset(
    ["a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
     "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"]
)  # fmt: skip
# Images would be loaded from elsewhere, which tells others who reads what: their source is shown as a link.
_MARKDOWN = MarkdownIt("js-default", {"html": False, "linkify": False, "breaks": True}).disable("image")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn as the page shows it; ``speaker`` is empty for a text that is no conversation."""

    speaker: str
    html: Markup


def prompt_turns(prompt: Text, *, markdown: bool = True) -> tuple[Turn, ...]:
    """The turns of a prompt: its messages, or the turns of a transcript, or the text as one."""
    if isinstance(prompt, str) and is_transcript(prompt) and (turns := turns_of(prompt)):
        # The last turn of such a prompt is the assistant's that the response is to fill.
        prompt = turns if turns[-1].content else turns[:-1]
    return _turns(prompt, markdown)


def response_turns(prompt: Text, response: Text, *, markdown: bool = True) -> tuple[Turn, ...]:
    """The turns of a response to the prompt; no speaker is named where there is one turn alone."""
    if isinstance(prompt, str) and isinstance(response, str) and prompt.endswith(ASSISTANT):
        response = turns_of(ASSISTANT + response) or response
    turns = _turns(response, markdown)
    return (Turn("", turns[0].html),) if len(turns) == 1 else turns


def _turns(text: Text, markdown: bool) -> tuple[Turn, ...]:
    if isinstance(text, str):
        return (Turn("", render(text, markdown=markdown)),)
    return tuple(Turn(_SPEAKERS[message.role], render(message.content, markdown=markdown)) for message in text)


@functools.lru_cache(maxsize=256)
def render(text: str, *, markdown: bool = True) -> Markup:
    """The text as HTML that holds nothing but formatting and links.

    As it is written, with its line ends, where Markdown isn't asked for or the text is longer than ``MOST_MARKDOWN`` or
    nested deeper than ``MOST_NESTED``.
    Characters that HTML can't hold are shown as U+FFFD.
    """
    if is_blank(text):
        return Markup('<p class="empty">(an empty text)</p>')
    tokens = _MARKDOWN.parse(text) if markdown and len(text) <= MOST_MARKDOWN else []
    if not tokens or any(token.level > MOST_NESTED for token in tokens):
        return Markup('<div class="verbatim">{}</div>').format(escape(text.replace("\0", "\ufffd")))
    html = nh3.clean(
        _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}),
        tags=set(_TAGS),
        attributes={"*": set(), "a": {"href"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return Markup(html)
