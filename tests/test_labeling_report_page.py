"""The page of the report on labels fits the screen, and its pictures what they show."""

import dataclasses
import itertools

from browsing import needs_chromium, opened_browser
from label_cases import record
from test_labeling_report_report import planted, report

from rmjax.preferences.record import PreferenceSet, Side, Source, Strength


@needs_chromium
def test_every_table_fits_a_page_of_1100_pixels(tmp_path):
    """With all columns full: several annotators, a long name, every strength, checks of attention."""
    people = planted(0, names=("ann", "Organization/Model-2.5-7B-Instruct"))
    words = itertools.cycle(Strength)
    sets = [
        PreferenceSet(spec=people.spec, preferences=tuple(
            dataclasses.replace(one, comparisons=tuple(
                dataclasses.replace(each, strength=next(words)) for each in one.comparisons)) for one in people)),
        planted(3, names=("Organization/Model-2.5-7B-Instruct",), source=Source.AI),
        PreferenceSet(spec="said.gold.jsonl", preferences=tuple(
            dataclasses.replace(record(f"c{place}", ("good", "bad", float(place > 3), "ann")), known_answer=Side.LEFT)
            for place in range(20))),
    ]  # fmt: skip
    report(*sets, folder=tmp_path)
    with opened_browser() as browser:
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        page.goto(f"file://{tmp_path}/report.html")
        widths = [one.evaluate("e => [e.scrollWidth, e.clientWidth]") for one in page.locator(".wide").all()]
    assert len(widths) == 6
    assert all(needed <= there for needed, there in widths)


def test_the_picture_of_two_annotators_is_as_high_as_it_needs(tmp_path):
    heights = []
    for names in (("ann", "ben"), [f"ann {place}" for place in range(12)]):
        report(planted(0, prompts=20, names=names), folder=tmp_path)
        heights.append(int.from_bytes((tmp_path / "annotators.png").read_bytes()[20:24], "big"))
    assert heights[0] < 320
    assert heights[1] > 12 / 2 * heights[0] / 2
