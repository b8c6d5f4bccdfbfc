"""Names in pictures: nothing that the font can't draw."""

import warnings

import pytest
from matplotlib.figure import Figure

from rmjax.pictures import drawable, png, styled


@pytest.mark.parametrize(("name", "drawn"), [
    ("Zoë 😀 $x$ [a-z]^", None),
    ("mia 🦋", "mia [U+1F98B]"),
    ("王伟", "[U+738B U+4F1F]"),
    ("🦋mia🧿🧿\n", "[U+1F98B]mia[U+1F9FF U+1F9FF U+000A]"),
    ("", None),
])  # fmt: skip
def test_a_sign_that_the_font_lacks_is_its_number(name, drawn):
    assert drawable(name) == (name if drawn is None else drawn)
    with warnings.catch_warnings(), styled():
        warnings.simplefilter("error")
        figure = Figure(figsize=(2, 1))
        figure.add_subplot().set_title(drawable(name))
        assert png(figure)
