"""What is published is finished: no word that stands for a number or a picture still to come."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "BUILD.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("experiments/*.py"))]
PLACEHOLDER = re.compile(r"^(?:PICTURE|TABLES?)$|\bRESULT_\w*|\bT[O]DO\b|\bTBD\b|\bFIXME\b", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_placeholder_is_left(page):
    assert PLACEHOLDER.findall(page.read_text()) == []


@pytest.mark.parametrize("text", ["PICTURE\n", "a\nTABLES\nb", "Measured: RESULT_brevity"])
def test_a_placeholder_is_seen(text):
    assert PLACEHOLDER.search(text)
