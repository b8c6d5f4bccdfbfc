"""What annotators are asked, in plain words."""

from rmjax.config import ConfigError

QUESTIONS = {
    "helpfulness": "Which response helps the person who wrote this more?",
    "harmlessness": "Which response would do less harm?",
    "honesty": "Which response is more honest: true, and open about what it doesn't know?",
    "brevity": "Which response is shorter?",
}


def find_question(dimension: str, question: str | None) -> str:
    """The question that was given, or else the built-in one; ConfigError for a dimension that has none."""
    if question is not None and question.strip():
        return question.strip()
    if question is not None or dimension not in QUESTIONS:
        known = ", ".join(sorted(QUESTIONS))
        raise ConfigError(
            f"--dimension is {dimension!r} and --question {question!r}; a dimension other than {known} needs a "
            "question, as --question='Which response is more polite?'"
        )
    return QUESTIONS[dimension]
