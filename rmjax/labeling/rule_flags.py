"""The flags of ``python -m rmjax.label`` that say by which rule responses are judged."""

from collections.abc import Callable

from absl import flags

from rmjax.errors import UserError
from rmjax.labeling.rule import RuleLabeler, brevity, characters, contents, matches
from rmjax.preferences.record import Text

_PATTERN = flags.DEFINE_string("pattern", None, "With --judge=rule: a regular expression, in the place of brevity.")
_UNWANTED = flags.DEFINE_bool("unwanted", False, "Whether what has the pattern less often is better.")
_TOKENIZER = flags.DEFINE_string("tokenizer", None, "A tokenizer.json: brevity is in its tokens, not in characters.")
_TIE_MARGIN = flags.DEFINE_float("tie_margin", 0.0, "With --judge=rule: what differs by no more is a tie.")


def rule_labeler(*, dimension: str) -> RuleLabeler:
    """The labeler that the flags give: of a pattern, or of brevity, under the dimension's name."""
    file, tie_margin = _TOKENIZER.value, _TIE_MARGIN.value
    if _PATTERN.value is None:
        if _UNWANTED.value:
            raise UserError("--unwanted is given without the --pattern that is to be found less often")
        if dimension != "brevity":
            raise UserError(
                f"--dimension is {dimension!r}; without --pattern the rule is that the briefer is better, so right "
                "would be brevity"
            )
        count = characters if file is None else tokens_by(file)
        return brevity(count=count, tie_margin=tie_margin, dimension=dimension)
    if file is not None:
        raise UserError("--pattern and --tokenizer are both given; brevity alone is counted in tokens")
    return matches(_PATTERN.value, dimension=dimension, unwanted=_UNWANTED.value, tie_margin=tie_margin)


def tokens_by(file: str) -> Callable[[Text], int]:
    """What counts the tokens of a text by a tokenizer.json, without special tokens; UserError where it is none."""
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(file)
    except Exception as error:  # tokenizers raises no narrower one
        raise UserError(f"{file}: found no tokenizer ({error}); right would be a tokenizer.json") from None
    return lambda text: sum(len(tokenizer.encode(one, add_special_tokens=False).ids) for one in contents(text))
