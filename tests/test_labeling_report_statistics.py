"""Every statistic of the report on labels is that of another library, or of its definition, on random judgments."""

import itertools
from typing import Any

import numpy as np
import pytest
from label_cases import record
from label_expectations import Said, between, numbers
from statsmodels.stats.proportion import proportion_confint

from rmjax.labeling.report.judgments import tabulate
from rmjax.labeling.report.report import report_labels
from rmjax.preferences.record import Comparison, Preference, PreferenceSet, Side, Source, Strength

SIDES = {0: None, 1: Side.LEFT, -1: Side.RIGHT}
PEOPLE = ("ann", "ben", "cem")
JUDGES = ("one", "two")


def random_judgments(seed: int, *, missing: float) -> list[Said]:
    """People with ties and judges with probabilities, of the same pairs; some pairs twice, some with a known answer."""
    rng = np.random.default_rng(seed)
    found = []
    for prompt in range(25):
        texts = [f"{prompt} {name} " + "x" * int(rng.integers(0, 200)) for name in "abcd"]
        worth = dict(zip(texts, rng.normal(size=4), strict=True))
        golden = prompt % 6 == 5
        for pair in itertools.combinations(texts, 2):
            left, right = pair if taken_for_left(*pair) else pair[::-1]
            likely = 1 / (1 + np.exp(-2 * (worth[left] - worth[right])))
            for source, who in [(Source.HUMAN, name) for name in (*PEOPLE, None)] + [(Source.AI, w) for w in JUDGES]:
                if rng.random() < missing:
                    continue
                for _ in range(1 + (who is not None and rng.random() < 0.3)):
                    hard = 0.5 if rng.random() < 0.2 else float(rng.random() < likely)
                    p = hard if source is Source.HUMAN else float(np.clip(likely + rng.normal(0, 0.2), 0, 1))
                    seconds = None if rng.random() < 0.2 else float(rng.exponential(20))
                    first = int(rng.choice([-1, 0, 1]))
                    strength = rng.choice([None, Strength.CLEARLY, Strength.SLIGHTLY]) if p != 0.5 else None
                    known = float(likely > 0.5) if golden else None
                    found.append(Said(source, prompt, (left, right), who, p, first, seconds, strength, known))
    return found


def taken_for_left(one: str, other: str) -> bool:
    return tabulate([record("p", (one, other, 1.0, None))])["helpfulness"].probability[0] == 1


def preference(said: Said, *, mirrored: bool) -> Preference:
    """The judgment as a record of its own, with left and right exchanged or not."""
    sign = -1 if mirrored else 1
    comparison = Comparison(
        left=0, right=1, probability=1 - said.p if mirrored else said.p, annotator=said.who,
        shown_first=SIDES[sign * said.first], seconds=said.seconds, strength=said.strength,
    )  # fmt: skip
    return Preference(
        prompt=f"prompt {said.prompt}", responses=said.pair[::sign], comparisons=(comparison,),
        dimension="helpfulness", source=said.source,
    )  # fmt: skip


def report(judged: list[Said], seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    rows = tuple(preference(judged[place], mirrored=rng.random() < 0.5) for place in rng.permutation(len(judged)))
    golden = {(one.prompt, one.pair): one for one in judged if one.known is not None}
    gold = tuple(
        record(f"prompt {one.prompt}", (*one.pair, one.known, None)) for one in golden.values() if one.known is not None
    )
    sets = [PreferenceSet(spec="gold", preferences=gold)] if gold else []
    return report_labels([PreferenceSet(spec="all", preferences=rows)], gold=sets, samples=50).numbers


def assert_equal(found: Any, wanted: Any, at: str) -> None:
    """Equal keys and values; a bootstrap's bounds, of which nothing is wanted, are there."""
    if isinstance(wanted, dict):
        for bound in {"low", "high"} - wanted.keys():
            assert "value" not in wanted or found[bound] is not None, at
        assert found.keys() - {"low", "high"} == wanted.keys() - {"low", "high"}, at
        for key, entry in wanted.items():
            assert_equal(found[key], entry, f"{at}.{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), at
        for place, (one, other) in enumerate(zip(found, wanted, strict=True)):
            assert_equal(one, other, f"{at}[{place}]")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-7, abs=1e-10), at
    else:
        assert found == wanted, at


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(3))
def test_every_number_of_the_report_is_another_librarys_or_its_definitions(seed, missing):
    judged = random_judgments(seed, missing=missing)
    people, judges = ([one for one in judged if one.source is source] for source in (Source.HUMAN, Source.AI))
    found = report(judged, seed)
    wanted = {
        "data": ["all"], "gold": ["gold"], "groups": [numbers(judges), numbers(people)],
        "between_sources": [between(people, judges)],
    }  # fmt: skip
    assert_equal(found, wanted, "report")


def hand_made(*said: tuple[str, int, float]) -> dict[str, Any]:
    """What the report says of judgments (annotator, pair, probability) by people, each pair of a prompt of its own."""
    rows = tuple(record(f"p{pair}", (f"a{pair}", f"b{pair}", p, who)) for who, pair, p in said)
    (found,) = report_labels([PreferenceSet(spec="all", preferences=rows)], samples=50).numbers["groups"]
    return found


def with_themselves(*said: tuple[str, int, float]) -> tuple[int, float | None]:
    found = hand_made(*said)["agreement"]["with_themselves"]
    return found["pairs"], found["percent"]["value"]


def test_annotators_agree_with_themselves_as_often_as_they_say_the_same_again():
    sure = [("ann", pair, float(pair % 2)) for pair in range(8)]
    other = [("ann", pair, 1 - p) for _, pair, p in sure]
    assert with_themselves(*sure) == (0, None)
    assert with_themselves(*sure, *sure) == (8, 1.0)
    assert with_themselves(*sure, *other) == (8, 0.0)
    assert with_themselves(*sure, *sure[:4], *other[4:6]) == (6, pytest.approx(4 / 6))
    # of three judgments that are left, left and right, one of the three pairs is of equals
    assert with_themselves(("ann", 0, 1.0), ("ann", 0, 1.0), ("ann", 0, 0.0)) == (1, pytest.approx(1 / 3))
    # what two annotators say is no repetition
    assert with_themselves(("ann", 0, 1.0), ("ben", 0, 0.0), ("ann", 1, 1.0), ("ann", 1, 1.0)) == (1, 1.0)


def test_a_coin_agrees_with_itself_by_chance():
    coins = np.random.default_rng(0).random((2, 2000)) < 0.5
    pairs, percent = with_themselves(*(("ann", pair, float(p)) for toss in coins for pair, p in enumerate(toss)))
    assert pairs == 2000
    assert percent == pytest.approx(0.5, abs=0.04)


def with_others(found: dict[str, Any]) -> dict[str, tuple[float | None, int]]:
    shares = {entry["name"]: entry["agreement_with_others"] for entry in found["annotators"]}
    return {name: (share["value"], share["count"]) for name, share in shares.items()}


def test_annotators_agree_with_others_as_often_as_these_say_the_same():
    ann = [("ann", pair, float(pair % 2)) for pair in range(8)]
    ben, cem = ([(name, pair, p if name == "ben" else 1 - p) for _, pair, p in ann] for name in ("ben", "cem"))
    assert with_others(hand_made(*ann)) == {"ann": (None, 0)}
    assert with_others(hand_made(*ann, *ben)) == {"ann": (1.0, 8), "ben": (1.0, 8)}
    assert with_others(hand_made(*ann, *cem)) == {"ann": (0.0, 8), "cem": (0.0, 8)}
    assert with_others(hand_made(*ann, *ben, *cem)) == {"ann": (0.5, 16), "ben": (0.5, 16), "cem": (0.0, 16)}
    assert with_others(hand_made(*ann, *ben[:2], *cem[1:3])) == {"ann": (0.5, 4), "ben": (2 / 3, 3), "cem": (0.0, 3)}


def test_coins_agree_with_others_by_chance():
    coins = np.random.default_rng(1).random((2, 2000)) < 0.5
    tossed = [(name, pair, float(p)) for name, toss in zip("ab", coins, strict=True) for pair, p in enumerate(toss)]
    assert with_others(hand_made(*tossed)) == dict.fromkeys("ab", (pytest.approx(0.5, abs=0.04), 2000))


@pytest.mark.parametrize(("same", "percent", "kappa"), [(True, 1, 1), (False, 0, -1)])
def test_the_report_of_perfect_and_of_reversed_judgments(same, percent, kappa):
    ann = [("ann", pair, float(taken_for_left(f"a{pair}", f"b{pair}") == (pair % 2 == 0))) for pair in range(100)]
    ben = [("ben", pair, p if same else 1 - p) for _, pair, p in ann]
    found = hand_made(*ann, *ben)
    agreement, (two,) = found["agreement"], found["annotator_pairs"]
    alphas = [agreement[key]["value"] for key in ("krippendorff_nominal", "krippendorff_interval")]
    assert alphas == pytest.approx([1, 1] if same else [-1 + 1 / 100] * 2)  # drawn without replacement, of 200
    assert agreement["fleiss_kappa"]["value"] == two["cohen_kappa"]["value"] == pytest.approx(kappa)
    assert agreement["percent"]["value"] == two["percent"]["value"] == percent
    assert found["ceiling"]["at_most"]["value"] == (1 if same else 0.5)
    _check_that_more_prompts_could_differ(found, same=same)


def _check_that_more_prompts_could_differ(found, *, same):
    """100 prompts that are all alike bound the next ones by Wilson's interval; redrawn they say nothing of kappa."""
    low, high = proportion_confint(100 if same else 0, 100, method="wilson")
    agreement, (two,) = found["agreement"], found["annotator_pairs"]
    for share in (agreement["percent"], two["percent"], found["ceiling"]["agreement"]):
        assert (share["low"], share["high"]) == pytest.approx((low, high), abs=1e-9)
    bounds = [found["ceiling"]["at_most"][bound] for bound in ("low", "high")]
    assert bounds == pytest.approx([(1 + np.sqrt(max(2 * q - 1, 0))) / 2 for q in (low, high)])
    if same:
        for kappa in (agreement["fleiss_kappa"], agreement["krippendorff_nominal"], two["cohen_kappa"]):
            assert (kappa["low"], kappa["high"]) == (None, None)
