"""In a real browser: people label, undo, leave and come back, and no response does anything but be read."""

import itertools
import os
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest
from browsing import DESKTOP, PHONE, click, needs_chromium, opened_browser, press, shown, sign_in
from live_labeling import ROOT, live_page, write_tasks
from test_labeling_people_rendering import HOSTILE

from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Side, Source

pytestmark = needs_chromium
KEYS = {"first": ["1", "ArrowLeft"], "tie": ["t", "T"], "second": ["2", "ArrowRight"]}
NAMES = {"first": "1 is better", "tie": "Tie", "second": "2 is better"}


@pytest.fixture(scope="module")
def browser():
    with opened_browser() as browser:
        yield browser


def ordinary_rows(count: int) -> list[dict]:
    return [
        {
            "prompt": [{"role": "user", "content": f"Question {number}?"}],
            "responses": [f"The {word} answer to question {number}." for word in ("one", "other")],
        }
        for number in range(count)
    ]


def expected(name: str, before: tuple[str, str, str], answer: str) -> tuple:
    """What the export must say: who, of which prompt, the response on the left, and the one that is preferred."""
    prompt, first, second = before
    return name, prompt, first, {"first": first, "second": second, "tie": None}[answer]


def exported(path) -> list[tuple]:
    found = read_preferences(path, defaults=RowDefaults("another", Source.AI))
    assert {(one.dimension, one.source) for one in found} == {("harmlessness", Source.HUMAN)}
    rows = []
    for preference in found:
        for one in preference.comparisons:
            left, right = (preference.responses[place][0].content for place in (one.left, one.right))
            first = left if one.shown_first is Side.LEFT else right
            better = {1.0: left, 0.5: None, 0.0: right}[one.probability]
            assert 0 < one.seconds < 60
            rows.append((one.annotator, preference.prompt[0].content, first, better))
    return rows


def test_two_annotators_label_undo_leave_and_come_back_and_a_model_is_trained_on_it(tmp_path, browser):
    write_tasks(tmp_path / "tasks.jsonl", ordinary_rows(20))
    mia, ben = (browser.new_context(**DESKTOP) for _ in range(2))
    answers, made = itertools.cycle(["first", "second", "second", "tie", "first"]), {"mia": [], "ben": []}
    with live_page(tmp_path, "--dimension=harmlessness") as page:
        port = urlsplit(page.url).port
        keyboard, mouse = mia.new_page(), ben.new_page()
        sign_in(keyboard, page.url, "mia")
        sign_in(mouse, page.url, "ben")
        for step in range(5):
            assert shown(keyboard)[0] != shown(mouse)[0]
            label(keyboard, "mia", next(answers), made, key=step)
            label(mouse, "ben", next(answers), made)
        undo_and_change(keyboard, "mia", made, lambda: press(keyboard, "u"))
        undo_and_change(mouse, "ben", made, lambda: click(mouse, "Undo"))
        keyboard.close()  # mia leaves the page and keeps the cookie; the server is stopped overnight
        page.process.send_signal(signal.SIGTERM)
        assert page.process.wait(timeout=30) == 0
        assert sorted(exported(tmp_path / "out.jsonl"), key=str) == sorted(made["mia"] + made["ben"], key=str)
    with live_page(tmp_path, "--dimension=harmlessness", port=port) as page:
        keyboard = mia.new_page()
        keyboard.goto(page.url)
        assert keyboard.locator("#annotator").inner_text() == "mia"
        assert keyboard.locator("#mine").inner_text() == "5"
        mouse.goto(page.url)
        for step in range(5):
            label(keyboard, "mia", next(answers), made, key=step)
            label(mouse, "ben", next(answers), made)
        assert "All pairs are judged" in mouse.locator("#done").inner_text()
        page.process.send_signal(signal.SIGINT)
        assert page.process.wait(timeout=30) == 0
    for context in (mia, ben):
        context.close()
    assert [len(made[name]) for name in made] == [10, 10]
    assert sorted(exported(tmp_path / "out.jsonl"), key=str) == sorted(made["mia"] + made["ben"], key=str)
    train(tmp_path)


def label(page, name: str, answer: str, made: dict, *, key: int | None = None) -> None:
    """Judges the pair that is shown, by mouse or by the n-th choice of a key, and keeps what must be exported."""
    made[name].append(expected(name, shown(page), answer))
    if key is None:
        click(page, NAMES[answer])
    else:
        press(page, KEYS[answer][key % 2])


def undo_and_change(page, name: str, made: dict, undo) -> None:
    """Takes the last judgment back, finds the same pair laid as before, and judges it again the other way."""
    person, prompt, first, better = made[name].pop()
    undo()
    before = shown(page)
    assert before[:2] == (prompt, first)
    assert page.locator("#note").inner_text() == "Your last judgment is taken back."
    label(page, person, "second" if better == first else "first", made, key=0 if name == "mia" else None)


def train(folder) -> None:
    """The command takes the file as it is."""
    small = {"steps": 2, "evaluate_every": 2, "text.vocabulary_size": 280, "model.width": 16, "model.layers": 1,
             "model.attention_heads": 2, "model.key_value_heads": 1, "model.head_size": 8, "model.mlp_width": 32,
             "batch.rows": 4, "data.validation_fraction": 0.3, "dimension": "harmlessness"}  # fmt: skip
    given = {"data.train": f"{folder}/out.jsonl", **small}
    command = [sys.executable, "-m", "rmjax.train", "--config=experiments/own_pairs.py", f"--workdir={folder}/run"]
    command += [f"--config.{name}={value}" for name, value in given.items()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "run" / "checkpoints" / "2").exists()


@pytest.mark.parametrize("layout", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_hostile_response_harms_nothing(tmp_path, browser, layout):
    texts = [*HOSTILE, "word " * 20_000, "x" * 100_000, "> " * 3000 + "deep", "<h1>" * 500, "\u202e" * 50 + "txet"]
    rows = [
        {"prompt": f"Pair {number}: {text}", "responses": [text, f"{text}\n\n1"]} for number, text in enumerate(texts)
    ]
    write_tasks(tmp_path / "tasks.jsonl", rows)
    context = browser.new_context(**layout)
    page, faults, asked = context.new_page(), [], set()
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    page.on("popup", lambda popup: faults.append(popup.url))
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    with live_page(tmp_path, "--dimension=honesty") as live:
        sign_in(page, live.url, "mia")
        for number, text in enumerate(texts):
            assert page.locator("#prompt").inner_text().startswith(f"Pair {number}:"), text[:60]
            check_layout(page, text)
            if layout is DESKTOP:
                press(page, "1")
            else:
                click(page, "1 is better", touch=True)
        assert page.locator("#done").is_visible()
    context.close()
    assert asked == {urlsplit(live.url).netloc}
    assert not faults


def check_layout(page, text: str) -> None:
    """The page is as wide as the window, its own words run from left to right, its buttons can be pressed."""
    width, window = page.evaluate("[document.scrollingElement.scrollWidth, window.innerWidth]")
    assert width <= window, text[:60]
    assert page.title() == "Which is better?"
    for name in ("#question", "footer", "#judge"):
        assert page.evaluate("name => getComputedStyle(document.querySelector(name)).direction", name) == "ltr"
    boxes = [page.get_by_role("button", name=name, exact=False).bounding_box() for name in ("1 is better", "Tie")]
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= window for box in boxes)
    assert boxes[0]["x"] < boxes[1]["x"] or boxes[0]["y"] < boxes[1]["y"]
    for number in (1, 2):
        inside = page.locator(f"#response-{number} .text").first.bounding_box()
        outside = page.locator(f"#response-{number}").bounding_box()
        assert outside["x"] <= inside["x"]
        assert inside["x"] + inside["width"] <= outside["x"] + outside["width"] + 0.5
    assert page.evaluate("document.querySelectorAll('form').length") in (2, 3)


def test_right_to_left_text_runs_from_right_to_left_and_nothing_else_does(tmp_path, browser):
    write_tasks(tmp_path / "tasks.jsonl", [{"prompt": "مرحبا؟", "responses": ["\u202eنعم \u2067abc", "no"]}])
    context = browser.new_context(**DESKTOP)
    page = context.new_page()
    with live_page(tmp_path, "--dimension=honesty") as live:
        sign_in(page, live.url, "mia")
        direction = "place => getComputedStyle(document.querySelector(place)).direction"
        assert page.evaluate(direction, "#prompt .text") == "rtl"
        assert page.evaluate(direction, "#name-1") == page.evaluate(direction, "#question") == "ltr"
    context.close()


def test_without_javascript_the_page_works_too(tmp_path, browser):
    write_tasks(tmp_path / "tasks.jsonl", ordinary_rows(2))
    context = browser.new_context(**DESKTOP, java_script_enabled=False)
    page, made = context.new_page(), {"zoë": []}
    with live_page(tmp_path, "--dimension=harmlessness") as live:
        sign_in(page, live.url, "zoë")
        label(page, "zoë", "first", made)
        click(page, "Undo")
        made["zoë"].pop()
        label(page, "zoë", "second", made)
        label(page, "zoë", "tie", made)
        live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(timeout=30) == 0
    context.close()
    assert sorted(exported(tmp_path / "out.jsonl"), key=str) == sorted(made["zoë"], key=str)


def test_the_strength_has_a_key_for_each_answer_and_no_second_is_lost(tmp_path, browser):
    write_tasks(tmp_path / "tasks.jsonl", ordinary_rows(8))
    context = browser.new_context(**PHONE)
    page = context.new_page()
    began = time.monotonic()
    with live_page(tmp_path, "--dimension=harmlessness", "--strength") as live:
        sign_in(page, live.url, "mia")
        page.wait_for_timeout(1500)
        with page.expect_navigation():
            page.get_by_role("link", name="Show as written").click()
        for key in "1234567t":
            press(page, key)
        live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(timeout=30) == 0
    context.close()
    read = read_preferences(tmp_path / "out.jsonl", defaults=RowDefaults("x"))
    found = [one for preference in read for one in preference.comparisons]
    found.sort(key=lambda one: one.judged_at)
    assert [one.strength and one.strength.value for one in found] == [
        "much", "clearly", "slightly", None, "slightly", "clearly", "much", None,
    ]  # fmt: skip
    assert 1.5 <= found[0].seconds < time.monotonic() - began
    firsts = [one.probability if one.shown_first is Side.LEFT else 1 - one.probability for one in found]
    assert firsts == [1, 1, 1, 0.5, 0, 0, 0, 0.5]
