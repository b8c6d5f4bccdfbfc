"""Takes the pictures of docs/labeling.md: ``.venv/bin/python tests/labeling_screenshots.py docs``."""

import sys
import tempfile
from pathlib import Path

from browsing import DESKTOP, PHONE, opened_browser, press, sign_in
from live_labeling import live_page, write_tasks

QUESTION = "My neighbour's dog barks all night. How do I get some sleep?"
KIND = """Start with the neighbour: most owners don't know what happens while they are out.

1. **Tell them when it barks**, with times you wrote down.
2. Offer something easy, as `a walk before bed` or a blanket over the window.
3. If nothing changes in two weeks, the town hall has a form for noise.

Until then, earplugs of 30 dB or more help."""
UNKIND = """Play loud music at the wall every time it barks:

```
while dog.barks():
    music.volume = 11
```

They will *soon* get the message."""


def take(folder: str) -> None:
    prompt = [{"role": "user", "content": QUESTION}]
    rows = [{"prompt": prompt, "responses": [KIND, UNKIND], "id": number} for number in range(20)]
    with tempfile.TemporaryDirectory() as temporary, opened_browser() as browser:
        write_tasks(Path(temporary) / "tasks.jsonl", rows)
        for name, layout in (("labeling.png", DESKTOP), ("labeling_phone.png", PHONE)):
            with live_page(Path(temporary), "--dimension=harmlessness") as live:
                page = browser.new_page(**layout)
                sign_in(page, live.url, "mia")
                for seconds in (2.4, 3.1, 5.6):  # so that the page has times to show
                    page.wait_for_timeout(1000 * seconds)
                    press(page, "1")
                page.screenshot(path=f"{folder}/{name}")
                page.close()


if __name__ == "__main__":
    take(sys.argv[1])
