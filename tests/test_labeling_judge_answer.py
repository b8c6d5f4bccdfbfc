"""What counts as an answer, and what its probability is."""

import math

import pytest
from local_judge import completion

from rmjax.labeling.judge.answer import MalformedAnswerError, read_answer


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A", "A"), (" B", "B"), ("b", "B"), ("A.", "A"), ("**B**", "B"), ("Answer: A", "A"), ("Response B", "B"),
        ("The answer is B.", "B"), ("(A)", "A"), ("A\n\nIt is shorter.", "A"), ("A)\nIt is shorter.", "A"),
        ("B.\n\nA is longer.", "B"), ("```\nA\n```", "A"), ("Answer:\n\nB", "B"),
        ("<think>A or B? B is longer.</think>\n\nA", "A"),
        ("", None), ("C", None), ("Both", None), ("A good response", None), ("A, B", None), ("A/B", None),
        ("A or B", None), ("A's", None), ("Neither A nor B", None), ("<think>A", None), ("AB", None),
        ("B: it is shorter", None), ("A: too long. B: better", None), ("A) 3/10 B) 7/10, so B", None),
        ("Response A: The first", None), ("A. is bad; B is good", None), ("A. B.", None),
        ("**Response A:**\nLong.", None), ("A\nToo long.\nB\nBetter.", None), ("A:\n3/10\nB:\n7/10", None),
        ("A\n\nMy answer is B.", None),
    ],
)  # fmt: skip
def test_a_letter_is_read_and_nothing_is_guessed(text, letter):
    answer = read_answer(completion(text, None), ties=False)
    assert (answer.text, answer.letter) == (text, letter)
    assert answer.first == {"A": 1.0, "B": 0.0, None: None}[letter]
    assert not answer.by_logprobs


def test_a_tie_is_a_letter_where_the_judge_may_say_so():
    assert read_answer(completion("C", None), ties=True).first == 0.5
    assert read_answer(completion("C", None), ties=False).first is None


@pytest.mark.parametrize("first", [0.001, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("letter", ["A", "B"])
def test_the_probability_is_that_of_all_spellings_whatever_was_drawn(first, letter):
    answer = read_answer(completion(letter, first), ties=False)
    assert answer.by_logprobs
    assert answer.first == pytest.approx(first, abs=1e-12)
    assert (answer.prompt_tokens, answer.completion_tokens) == (100, 1)


def body(text: str, *tokens: tuple[str, dict[str, float]]) -> dict:
    """A completion whose tokens have these alternatives, by their probabilities."""
    made = completion(text, 0.5)
    made["choices"][0]["logprobs"]["content"] = [
        {"token": token, "logprob": -1.0,
         "top_logprobs": [{"token": name, "logprob": math.log(mass)} for name, mass in alternatives.items()]}
        for token, alternatives in tokens
    ]  # fmt: skip
    return made


def test_the_token_that_holds_the_letter_is_the_one_that_counts():
    thought = [("<think>", {"<think>": 1.0}), ("A", {"A": 0.9, "B": 0.1}), ("</think>", {"</think>": 1.0})]
    answer = ("\u2581B", {"\u2581B": 0.6, "\u0120A": 0.2, "B": 0.1, "The": 0.1})
    end = ("<|im_end|>", {"<|im_end|>": 1.0})
    for tokens in ([answer], [answer, end], [*thought, answer, end]):
        read = read_answer(body(" B", *tokens), ties=False)
        assert read.by_logprobs
        assert read.first == pytest.approx(2 / 9)
    said = [("Answer", {"Answer": 1.0}), (":", {":": 1.0}), (" B", {" B": 0.75, " A": 0.25})]
    assert read_answer(body("Answer: B", *said), ties=False).first == pytest.approx(0.25)


def test_a_tie_counts_half():
    token = ("A", {"A": 0.5, "B": 0.2, "C": 0.3})
    assert read_answer(body("A", token), ties=True).first == pytest.approx(0.65)
    assert read_answer(body("A", token), ties=False).first == pytest.approx(5 / 7)


def test_tokens_that_do_not_spell_the_answer_leave_it_a_vote():
    for tokens in ([("x", {"A": 0.5, "B": 0.5})], [("A", {})], [("A", {"x": 0.9})]):
        answer = read_answer(body("A", *tokens), ties=False)
        assert (answer.first, answer.by_logprobs) == (1.0, False)


@pytest.mark.parametrize("broken", [
    None, [], {}, {"choices": None}, {"choices": []}, {"choices": [None]}, {"choices": [{"message": None}]},
    {"choices": [{"message": {"content": 3}}]}, {"error": {"message": "overloaded"}},
])  # fmt: skip
def test_what_is_no_completion_is_an_error(broken):
    with pytest.raises(MalformedAnswerError):
        read_answer(broken, ties=False)


def test_an_answer_says_after_how_many_tokens_it_was_cut_off():
    made = completion("<think>Which", None)
    assert read_answer(made, ties=False).cut_off_after is None
    made["choices"][0]["finish_reason"] = "length"
    assert read_answer(made, ties=False).cut_off_after == 1
    del made["usage"]
    assert read_answer(made, ties=False).cut_off_after is None


def test_an_answer_without_content_or_usage_is_nonsense_that_nobody_counted():
    answer = read_answer({"choices": [{"message": {"content": None}}]}, ties=False)
    assert (answer.text, answer.first, answer.prompt_tokens, answer.completion_tokens) == ("", None, None, None)
