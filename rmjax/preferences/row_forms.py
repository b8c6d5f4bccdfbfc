"""The forms of rows that preferences are read from, each with an example in its reader's docstring.

A row is a mapping from field names to JSON values. Besides the fields of its form every row may say

- ``dimension`` and ``source`` (human, ai, rule, simulated), which go before the defaults of the data set,
- ``id``, its name: text or a whole number, else ignored; ``annotator``, of comparisons that don't name their own,
- ``utilities``, the true utility of each response where it is known,
- ``known_answer``: left or right, the better of two responses that were judged to check attention; no training data,
- ``allow_empty``: true, where an empty response is meant (its end token alone is scored then),

and a row of two responses ``probability`` (that the chosen one is preferred; 1 if absent), ``margin`` (signed towards
chosen), ``weight``, ``true_probability``, ``strength`` (slightly, clearly, much), ``shown_first`` (left, which is the
chosen one, or right), ``seconds`` and ``judged_at`` (ISO 8601 with an offset). Other fields are ignored. A field that
is null counts as absent. ``prompt`` and responses are both texts, or both lists of messages
``{"role": ROLE, "content": TEXT}`` whose role is system, user or assistant; TEXT may be a list of parts
``{"type": "text", "text": TEXT}`` too. A response to messages may be text: it becomes the assistant's message.

A new form is a ``RowForm`` in ``ROW_FORMS``: the first one whose ``matches`` says yes reads the row.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rmjax.preferences.conversations import check_opening, read_text, split_conversations, without_prompt
from rmjax.preferences.fields import Fields, shown
from rmjax.preferences.groups import (
    RowDefaults,
    build,
    read_annotator,
    read_comparisons,
    read_judgment,
    read_responses,
)
from rmjax.preferences.record import Comparison, Message, Preference, RowError, Source, Text
from rmjax.preferences.transcripts import is_transcript, split_transcripts

_PAIR = ("chosen", "rejected")


@dataclass(frozen=True, slots=True)
class RowForm:
    """One form of rows.

    Attributes:
      name: as messages show it.
      matches: whether a row is (or was meant to be) of this form.
      parse: reads such a row, or raises RowError.
      skips_by_default: whether bad rows of this form are skipped and counted unless the user says otherwise, because
        the published files of this form are known to hold some.
    """

    name: str
    matches: Callable[[Fields], bool]
    parse: Callable[[Fields, RowDefaults], Preference]
    skips_by_default: bool = False


def parse_row(row: Mapping[str, object], *, origin: str, defaults: RowDefaults) -> Preference:
    """The preference that a row holds; RowError, which names the origin, where it holds none."""
    fields = Fields(row, origin)
    return find_form(fields).parse(fields, defaults)


def find_form(fields: Fields, forms: Sequence[RowForm] = ()) -> RowForm:
    """The form of a row, of those given or else of ``ROW_FORMS``; RowError where it has none."""
    for form in (forms := forms or ROW_FORMS):
        if form.matches(fields):
            return form
    names = " or ".join(form.name for form in forms)
    raise fields.error("", "unknown form", found=f"the fields {fields.names()}", right=names)


def parse_pair(fields: Fields, defaults: RowDefaults) -> Preference:
    """Two responses to an explicit prompt, of which the chosen one, which becomes left, was preferred.

        {"prompt": "Name a prime.", "chosen": " 7", "rejected": " 9", "margin": 1.5}

    Conversations give messages, with or without those of the prompt at the start of both:

        {"prompt": [{"role": "user", "content": "Name a prime."}],
         "chosen": [{"role": "assistant", "content": "7"}],
         "rejected": [{"role": "assistant", "content": "9"}]}

    The prompt may be the text of their first user's message too, as in UltraFeedback's published pairs.
    """
    prompt = read_text(fields, "prompt")
    texts: dict[str, Text] = {name: read_text(fields, name) for name in _PAIR}
    conversations = {name: text for name, text in texts.items() if isinstance(text, tuple)}
    if (
        isinstance(prompt, str)
        and is_transcript(prompt)
        and all(isinstance(text, str) and text.startswith(prompt) for text in texts.values())
    ):
        right = "what follows the prompt, or whole transcripts without the field 'prompt'"
        raise fields.error("chosen", "prompt repeated", found=shown(texts["chosen"]), right=right)
    if isinstance(prompt, str) and len(conversations) == 2:
        check_opening(fields, prompt, conversations)
        return parse_conversations(fields, defaults)
    if isinstance(prompt, tuple) and len(conversations) == 2:
        texts = dict(zip(_PAIR, without_prompt(fields, prompt, conversations), strict=True))
    return _build_pair(fields, defaults, prompt, texts["chosen"], texts["rejected"], prompt_name="prompt")


def parse_transcripts(fields: Fields, defaults: RowDefaults) -> Preference:
    """Two transcripts of which the prompt is a part, as in the published HH-RLHF files.

        {"chosen": "\\n\\nHuman: Name a prime.\\n\\nAssistant: 7",
         "rejected": "\\n\\nHuman: Name a prime.\\n\\nAssistant: 9"}

    The prompt ends with the last "\\n\\nAssistant:" at which both are still equal; what follows is the response,
    further turns included. Bad rows are skipped and counted by default, and a response may be empty: the published
    files hold both.
    """
    chosen, rejected = (fields.string(name, right="a transcript") for name in _PAIR)
    for name, transcript in zip(_PAIR, (chosen, rejected), strict=True):
        if not transcript:
            raise fields.error(name, "empty field", found="''", right="a transcript")
    if (parts := split_transcripts(chosen, rejected)) is None:
        raise _prompts_differ(fields, "transcripts", 'an "\\n\\nAssistant:" at the same place of both')
    return _build_pair(fields, defaults, *parts, prompt_name="chosen", accepts_empty=True)


def parse_conversations(fields: Fields, defaults: RowDefaults) -> Preference:
    """Two conversations of which the prompt is a part: the messages that both share.

        {"chosen": [{"role": "user", "content": "Name a prime."}, {"role": "assistant", "content": "7"}],
         "rejected": [{"role": "user", "content": "Name a prime."}, {"role": "assistant", "content": "9"}]}

    Both responses begin with the last assistant message up to which they are equal.
    """
    chosen, rejected = (read_text(fields, name) for name in _PAIR)
    if isinstance(chosen, str) and isinstance(rejected, str):
        # Of two texts that are no transcripts. An error even where bad transcripts are skipped: it is most likely the
        # prompt's field that has another name in all rows of the file.
        raise _prompts_differ(fields, "transcripts", 'an "\\n\\nAssistant:" at the same place of both')
    if isinstance(chosen, str) or isinstance(rejected, str):
        name = _PAIR[isinstance(rejected, str)]
        raise fields.error(name, "mixed kinds", found=shown(fields.values[name]), right="messages, as the other is")
    for name, messages in zip(_PAIR, (chosen, rejected), strict=True):
        if not messages:
            raise fields.error(name, "empty field", found="[]", right="the messages of a conversation")
    parts = split_conversations(chosen, rejected)
    if parts is None:
        raise _prompts_differ(fields, "conversations", "an assistant message at the same place of both")
    return _build_pair(fields, defaults, *parts, prompt_name="chosen")


def _prompts_differ(fields: Fields, what: str, end: str) -> RowError:
    right = f'{what} that are equal from their start up to {end}, or a field "prompt"'
    found = f"{shown(fields.values['rejected'])} in a row with the fields {fields.names()}"
    return fields.error("rejected", "prompts that differ", found=found, right=right)


def _build_pair(
    fields: Fields,
    defaults: RowDefaults,
    prompt: Text,
    chosen: Text,
    rejected: Text,
    *,
    prompt_name: str,
    accepts_empty: bool = False,
) -> Preference:
    return build(
        fields,
        defaults,
        prompt=(prompt_name, prompt),
        responses=(("chosen", chosen), ("rejected", rejected)),
        comparisons=(read_judgment(fields, 0, 1, None),),
        accepts_empty=accepts_empty,
    )


def parse_comparisons(fields: Fields, defaults: RowDefaults) -> Preference:
    """Any number of responses, and the comparisons made between some of them.

        {"prompt": "Name a prime.", "responses": [" 7", " 9", " Eleven."],
         "comparisons": [{"left": 0, "right": 1}, {"left": 2, "right": 0, "probability": 0.4, "annotator": "mia"}]}

    ``left`` and ``right`` are indices into the responses and the rest is the judgment as ``Comparison`` has it:
    ``probability`` that left is preferred, ``margin`` signed towards left, ``weight``, ``annotator``,
    ``true_probability``, ``strength``, ``shown_first``, ``seconds``, ``judged_at``. This is the form that is written.
    """
    _check_judged_once(fields)
    responses = read_responses(fields)
    comparisons = read_comparisons(fields, len(responses))
    prompt = ("prompt", read_text(fields, "prompt"))
    return build(fields, defaults, prompt=prompt, responses=responses, comparisons=comparisons)


def parse_ranking(fields: Fields, defaults: RowDefaults) -> Preference:
    """Any number of responses and their ranks: 1 is the best, and equal ranks are a tie.

        {"prompt": "Name a prime.", "responses": [" 9", " 7", " Eleven."], "ranking": [3, 1, 1]}

    All K(K-1)/2 pairs are compared, each with weight 1/(K(K-1)/2), the better response left, ties with probability 0.5.
    """
    _check_judged_once(fields)
    responses = read_responses(fields)
    count = len(responses)
    right = f"{count} ranks from 1 (the best) to {count}, one for each response"
    values = fields.sequence("ranking", right=right)
    if len(values) != count:
        raise fields.error("ranking", "wrong length", found=f"{len(values)} ranks", right=right)
    ranks = [
        fields.checked_integer(f"ranking[{i}]", value, low=1, high=count, right=f"a rank from 1 (the best) to {count}")
        for i, value in enumerate(values)
    ]
    if min(ranks) != 1:
        raise fields.error("ranking", "out of range", found=shown(ranks), right="ranks that begin with 1, the best")
    pairs = [sorted(pair, key=lambda i: ranks[i]) for pair in itertools.combinations(range(count), 2)]
    weight, annotator = 1 / len(pairs), read_annotator(fields)
    comparisons = tuple(
        Comparison(
            left=left,
            right=right,
            probability=0.5 if ranks[left] == ranks[right] else 1.0,
            weight=weight,
            annotator=annotator,
        )
        for left, right in pairs
    )
    prompt = ("prompt", read_text(fields, "prompt"))
    return build(fields, defaults, prompt=prompt, responses=responses, comparisons=comparisons)


def _check_judged_once(fields: Fields) -> None:
    """RowError for responses that come without a judgment, or with both kinds."""
    if (ranked := fields.has("ranking")) != fields.has("comparisons"):
        return
    kind, right = "two judgments", "the field 'comparisons' or the field 'ranking', and not both"
    if not ranked:
        kind = "missing field"
        right = (
            "a judgment of the responses: the field 'ranking', or 'comparisons', which python -m rmjax.label "
            "writes (its --tasks takes rows that nobody has judged yet)"
        )
    raise fields.error("comparisons", kind, found=f"the fields {fields.names()}", right=right)


def parse_alpaca_eval(fields: Fields, defaults: RowDefaults) -> Preference:
    """An annotation of AlpacaEval: an AI judge's soft preference between two answers to one instruction.

        {"instruction": "Name a prime.", "output_1": "7", "output_2": "9", "preference": 1.02}

    ``preference`` is 1 + the probability that output_2 is preferred (Dubois et al., 2024, arXiv 2404.04475), so left,
    output_1, is preferred with 2 - preference; ``margin``, ``weight`` and the rest of a judgment are read as in a pair,
    but a ``probability`` beside it is an error. Instruction and outputs become messages of the user and the assistant.
    The dimension is helpfulness and the source is ai, unless the row says otherwise. Bad rows are skipped and counted
    by default, and an output may be empty: the published files hold both.
    """
    instruction = fields.string("instruction")
    outputs = [(name, fields.string(name)) for name in ("output_1", "output_2")]
    right = "a number from 1 (output_1 is preferred) to 2 (output_2 is)"
    preference = fields.number("preference", low=1.0, high=2.0, right=right)
    if fields.has("probability"):
        right = "'preference' alone, which says it already"
        raise fields.error("probability", "judged twice", found=shown(fields.values["probability"]), right=right)
    return build(
        fields,
        RowDefaults("helpfulness", Source.AI),
        prompt=("instruction", (Message(role="user", content=instruction),)),
        responses=outputs,
        comparisons=(replace(read_judgment(fields, 0, 1, None), probability=2.0 - preference),),
        accepts_empty=True,
    )


def _is_comparisons(fields: Fields) -> bool:
    return fields.has("responses") or fields.has("comparisons")


def _is_pair(fields: Fields) -> bool:
    return "prompt" in fields.values and _is_implicit(fields)


def _is_transcripts(fields: Fields) -> bool:
    values = [fields.values.get(name) for name in _PAIR]
    return all(isinstance(value, str) for value in values) and any(is_transcript(value) for value in values)


def _is_implicit(fields: Fields) -> bool:
    return any(fields.has(name) for name in _PAIR)


def _is_alpaca_eval(fields: Fields) -> bool:
    return fields.has("instruction") and (fields.has("output_1") or fields.has("output_2"))


ROW_FORMS: tuple[RowForm, ...] = (
    RowForm("{prompt, responses, ranking}", lambda fields: fields.has("ranking"), parse_ranking),
    RowForm("{prompt, responses, comparisons}", _is_comparisons, parse_comparisons),
    RowForm("{prompt, chosen, rejected}", _is_pair, parse_pair),
    RowForm("{chosen, rejected} as transcripts", _is_transcripts, parse_transcripts, skips_by_default=True),
    RowForm("{chosen, rejected} as lists of messages", _is_implicit, parse_conversations),
    RowForm("{instruction, output_1, output_2, preference}", _is_alpaca_eval, parse_alpaca_eval, skips_by_default=True),
)
