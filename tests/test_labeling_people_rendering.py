"""Nothing that a text holds becomes more than formatting, and no text is lost."""

import html.parser
import time
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmjax.labeling.people.rendering import MOST_MARKDOWN, prompt_turns, render, response_turns
from rmjax.preferences.record import Message

ALLOWED = {
    "a", "blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre",
    "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
VOID = {"br", "hr"}
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![a](https://example.org/seen.png)",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt&colon;alert(1))",
    "[a](data:text/html,<script>alert(1)</script>)",
    "[a](vbscript:x) <javascript:alert(1)>",
    '[a](https://example.org/"onmouseover="alert(1) "t\\" onclick=alert(1)")',
    "</div></section></main><form action=/undo method=post><button>1 is better</button></form>",
    "<style>body{display:none}</style><base href=//example.org><meta http-equiv=refresh content=0>",
    "<svg><a xlink:href='javascript:alert(1)'>x</a><animate onbegin=alert(1)>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "```html\n<script>alert(1)</script>\n```",
    "```\"><script>alert(1)</script>\ncode\n```",
    "    <iframe srcdoc='<script>alert(1)</script>'>",
    "<!-- --><!--><script>alert(1)</script>-->",
    "{{ 7 * 7 }} {% include 'x' %}",
    "\u202e reversed \u2066 isolated",
    "\0 \x1b[31m \x07 \ufeff \ufffe",
    "e" + "\u0301" * 500,
    "👩\u200d👩\u200d👧\u200d👦 🏴\u200d☠️",
    "مرحبا بالعالم",
    "[x]: javascript:alert(1)\n\n[x]",
    "| a | b |\n|:-:|--|\n| <b>x</b> | `</td>` |",
]  # fmt: skip


class Reader(html.parser.HTMLParser):
    """Checks every element and attribute against the list, and that each that is opened is closed."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.text, self.open = "", []

    def handle_starttag(self, tag, attrs):
        assert tag in ALLOWED, tag
        names = {"a": {"href", "rel", "target"}, "ol": {"start"}, "p": {"class"}, "div": {"class"}}.get(tag, set())
        assert {name for name, _ in attrs} <= names, attrs
        values = dict(attrs)
        if "class" in values:
            assert values["class"] in ("empty", "verbatim")
        if tag == "a" and "href" in values:
            assert urlsplit(values["href"]).scheme in ("http", "https", "mailto", ""), values
            assert set(values["rel"].split()) >= {"noopener", "noreferrer"}
            assert values["target"] == "_blank"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl):
        raise AssertionError(f"a declaration: {decl}")


def read(markup: str) -> str:
    """The visible text of harmless HTML."""
    reader = Reader()
    reader.feed(str(markup))
    reader.close()
    assert not reader.open
    return reader.text


@pytest.mark.parametrize("markdown", [True, False])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_formatting_and_text(text, markdown):
    read(render(text, markdown=markdown))
    read(render(f"# Title\n\n- {text}\n\n> {text}\n\n{text}", markdown=markdown))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*HOSTILE, "\n\n", "\n", "> ", "- ", "`", "**", "[", "](", ")", "<", ">", "&lt;", "|"])
                | st.text(max_size=8)).map("".join))  # fmt: skip
def test_any_mixture_of_them_is_too(text):
    read(render(text))
    assert read(render(text, markdown=False)) in (text.replace("\0", "\ufffd").replace("\r\n", "\n"), "(an empty text)")


def test_html_in_a_text_is_shown_as_the_text_that_it_is():
    assert read(render("a <b onclick='x'>bold</b> word")).strip() == "a <b onclick='x'>bold</b> word"
    assert "<script>" in read(render("```\n<script>alert(1)</script>\n```"))


def test_markdown_is_formatted():
    shown = render(
        "**bold** and `code`\n\n```python\nx = 1 < 2\n```\n\n| a |\n|---|\n| b |\n\n[link](https://example.org)"
    )
    for part in ("<strong>bold</strong>", "<code>code</code>", "<pre><code>x = 1 &lt; 2\n</code></pre>", "<td>b</td>"):
        assert part in shown
    assert 'href="https://example.org"' in shown


@pytest.mark.parametrize(
    "piece", ["word ", "[", "*a **a ", "> ", "- ", "`a", "<p>", "|a", "a\n\n", "![](", "&#x41;", "ا"]
)
def test_a_hundred_kilobytes_are_shown_whole_and_soon(piece):
    text = (piece * 100_000)[:100_000]
    began = time.monotonic()
    assert read(render(text)) == text
    read(render(text[:MOST_MARKDOWN]))
    assert time.monotonic() - began < 20  # it takes less than one; what isn't bounded would take minutes


@pytest.mark.parametrize("mark", ["> ", "- ", "1. ", "*", "[", "> - "])
@pytest.mark.parametrize("times", [1, 10, 30, 49, 50, 51, 99, 100, 101, 1000])
def test_nothing_is_lost_however_deep_it_is_nested(mark, times):
    assert "deep" in read(render(mark * times + "deep"))


def test_messages_and_transcripts_become_turns():
    messages = (Message(role="system", content="Be kind."), Message(role="user", content="Hi"))
    assert [turn.speaker for turn in prompt_turns(messages)] == ["System", "User"]
    transcript = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: A prime?\n\nAssistant:"
    turns = prompt_turns(transcript)
    assert [turn.speaker for turn in turns] == ["User", "Assistant", "User"]
    assert [read(turn.html).strip() for turn in turns] == ["Hi", "Hello", "A prime?"]
    (alone,) = response_turns(transcript, " 7")
    assert (alone.speaker, read(alone.html).strip()) == ("", "7")
    several = response_turns(transcript, " 7\n\nHuman: Sure?\n\nAssistant: Yes")
    assert [turn.speaker for turn in several] == ["Assistant", "User", "Assistant"]
    (plain,) = prompt_turns("No conversation.")
    assert plain.speaker == ""


def test_an_empty_text_is_said_to_be_one():
    assert read(render("")) == read(render(" \n")) == "(an empty text)"
