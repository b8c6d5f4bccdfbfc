"""What annotators are asked, in plain words."""

import pytest

from rmjax.config import ConfigError
from rmjax.labeling.people.questions import QUESTIONS, find_question


def test_a_dimension_has_a_question_or_needs_one():
    for dimension, question in QUESTIONS.items():
        assert find_question(dimension, None) == question
    assert find_question("politeness", " Which is politer? ") == "Which is politer?"
    for dimension, question in (("politeness", None), ("brevity", " ")):
        with pytest.raises(ConfigError, match="needs a question"):
            find_question(dimension, question)
