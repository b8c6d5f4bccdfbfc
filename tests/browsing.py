"""A real browser: Debian's Chromium, driven by Playwright. Nothing is downloaded."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed; on Debian `apt-get install chromium` brings one"
)


@contextlib.contextmanager
def opened_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


def sign_in(page: Page, url: str, name: str) -> None:
    page.goto(url)
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Begin").click()
    page.locator("#annotator").wait_for()


def shown(page: Page) -> tuple[str, str, str]:
    """The prompt and the two responses as they stand on the page."""
    texts = [page.locator(f"#{name} .text").first.inner_text() for name in ("prompt", "response-1", "response-2")]
    return texts[0], texts[1], texts[2]


def press(page: Page, key: str) -> None:
    """Presses a key and waits until the next page is there."""
    with page.expect_navigation():
        page.keyboard.press(key)


def click(page: Page, name: str, *, touch: bool = False) -> None:
    """Clicks, or taps, a button and waits until the next page is there."""
    button = page.get_by_role("button", name=name)
    with page.expect_navigation():
        button.tap() if touch else button.click()
