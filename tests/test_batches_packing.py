import dataclasses
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tokenized_data import lengths_of, random_tokenized

from rmjax.batches.choose_row import choose_row_shape
from rmjax.batches.lengths import measure
from rmjax.batches.packing import pack, plan_epoch, plan_in_order
from rmjax.batches.row_shape import RowShape, RowTooShortError
from rmjax.config import BatchConfig

SHAPES = [
    RowShape(length=64, responses=16, comparisons=24),
    RowShape(length=64, responses=3, comparisons=24),  # groups are split for their responses
    RowShape(length=64, responses=16, comparisons=1),  # and for their comparisons
    RowShape(length=28, responses=16, comparisons=24),  # and for their tokens: a prompt of 12 and twice 8
    RowShape(length=301, responses=40, comparisons=40),
]


def seen_from(batch, row, index):
    """The indices that an index sees by the one rule of visibility."""
    every = np.arange(batch.tokens.shape[1])
    return every[(every <= index) & (index < batch.visible_until[row])]


def check_rows(tokenized, batch):
    """Each response's end sees exactly its conversation, at positions 0..n-1; whatever is unused is marked so."""
    covered = np.zeros(batch.tokens.shape, bool)
    for row, slot in np.argwhere(batch.response_id >= 0):
        seen = seen_from(batch, row, batch.response_end[row, slot])
        conversation = tokenized.conversation(batch.response_id[row, slot])
        assert batch.tokens[row, seen].tolist() == conversation.tolist()
        assert batch.positions[row, seen].tolist() == list(range(len(conversation)))
        covered[row, seen] = True
    padding = batch.visible_until == 0
    assert (covered == ~padding).all()  # no token is laid that no response reads
    assert not batch.tokens[padding].any()
    assert not batch.positions[padding].any()
    assert not batch.response_end[batch.response_id < 0].any()
    unused = batch.comparison_id < 0
    for name in ("left", "right", "head", "probability", "margin", "weight"):
        assert not getattr(batch, name)[unused].any()


def comparisons_of(batch):
    """(id, left and right response, head, probability, margin, weight) of each comparison laid."""
    rows, slots = np.nonzero(batch.comparison_id >= 0)
    return [
        (
            int(batch.comparison_id[row, slot]),
            int(batch.response_id[row, batch.left[row, slot]]),
            int(batch.response_id[row, batch.right[row, slot]]),
            int(batch.head[row, slot]),
            *(float(getattr(batch, name)[row, slot]) for name in ("probability", "margin", "weight")),
        )
        for row, slot in zip(rows, slots, strict=True)
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("all_pairs", [False, True])
def test_an_epoch_lays_every_comparison_once_and_every_conversation_whole(seed, shape, all_pairs):
    check_epoch(random_tokenized(seed, all_pairs=all_pairs), shape, seed=seed)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("vocabulary", [1, 2, 4])
def test_a_row_of_the_least_length_takes_every_pair_whatever_its_siblings_are(seed, vocabulary):
    """A prompt of 12 and two responses of 8; a sibling that melts into the prompt shares less of it."""
    tokenized = random_tokenized(seed, vocabulary=vocabulary, most_responses=8, all_pairs=True, melted=5)
    check_epoch(tokenized, RowShape(length=12 + 2 * 8, responses=16, comparisons=24), seed=seed)


def test_a_sibling_that_melts_into_the_prompt_takes_no_room_from_a_pair():
    """Four tokens of prompt and three of each response; the last response begins in the prompt's last token."""
    conversations = [[2, 3, 4, 5, 6, 6, 1], [2, 3, 4, 5, 7, 7, 1], [2, 3, 4, 8, 8, 1]]
    every = [(0, 1), (0, 2), (1, 2)]
    tokenized = dataclasses.replace(
        random_tokenized(0, groups=1, most_responses=2),
        tokens=np.concatenate(conversations).astype(np.int32),
        response_offsets=np.array([0, 7, 14, 20]),
        group_offsets=np.array([0, 3]),
        comparison_offsets=np.array([0, 3]),
        **dict(zip(("left", "right"), np.array(every).T, strict=True)),
        **{name: np.ones(3, np.float32) for name in ("probability", "margin", "weight")},
        head=np.zeros(3, np.int32),
        response_origin=np.array([(0, 0), (0, 1), (0, 2)], np.int32),
        comparison_origin=np.array([(0, 0), (0, 1), (0, 2)], np.int32),
    )
    plan = check_epoch(tokenized, RowShape(length=4 + 2 * 3, responses=8, comparisons=8), seed=0)
    assert dict(zip(plan.parts.comparisons.tolist(), plan.parts.prefix.tolist(), strict=True)) == {0: 4, 1: 3, 2: 3}


def check_epoch(tokenized, shape, *, seed):
    plan = plan_epoch(measure(tokenized), shape, seed=seed, epoch=seed + 1)
    batch = pack(tokenized, plan, slice(None))
    assert batch.tokens.shape == (plan.rows, shape.length)
    assert batch.response_end.shape == (plan.rows, shape.responses)
    assert batch.left.shape == (plan.rows, shape.comparisons)
    assert plan.tokens == (batch.visible_until > 0).sum()
    check_rows(tokenized, batch)
    columns = (tokenized.left, tokenized.right, tokenized.head, tokenized.probability, tokenized.margin)
    expected = zip(
        range(tokenized.comparisons), *(column.tolist() for column in (*columns, tokenized.weight)), strict=True
    )
    assert sorted(comparisons_of(batch)) == list(expected)
    compared = set(tokenized.left) | set(tokenized.right)
    assert set(batch.response_id[batch.response_id >= 0]) == compared
    return plan


@pytest.mark.parametrize("shape", SHAPES[1:4])
def test_the_small_shapes_do_split_groups(shape):
    lengths = measure(random_tokenized(0, all_pairs=True))
    assert plan_epoch(lengths, shape, seed=0, epoch=0).split_groups > 0
    assert plan_epoch(lengths, SHAPES[0], seed=0, epoch=0).split_groups == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [*SHAPES, RowShape(length=21, responses=1, comparisons=0)])
@pytest.mark.parametrize(("most_responses", "melted"), [(2, 0), (9, 0), (9, 5)])
def test_in_order_every_response_is_read_once(seed, shape, most_responses, melted):
    tokenized = random_tokenized(seed, most_responses=most_responses, melted=melted)
    plan = plan_in_order(measure(tokenized), shape)
    batch = pack(tokenized, plan, slice(None))
    check_rows(tokenized, batch)
    read = batch.response_id[batch.response_id >= 0]
    assert sorted(read.tolist()) == list(range(tokenized.responses))
    assert batch.left.shape == (plan.rows, 0)


@pytest.mark.parametrize("seed", range(3))
def test_any_rows_of_a_plan_can_be_packed_and_minus_one_is_empty(seed):
    tokenized = random_tokenized(seed)
    plan = plan_epoch(measure(tokenized), SHAPES[0], seed=seed, epoch=0)
    whole = pack(tokenized, plan, slice(None))
    numbers = np.random.default_rng(seed).permutation(np.concatenate([np.arange(plan.rows), [-1, -1]]))
    some = pack(tokenized, plan, numbers)
    for name in whole._fields:
        all_rows, rows = getattr(whole, name), getattr(some, name)
        assert rows.dtype == all_rows.dtype
        assert (rows[numbers >= 0] == all_rows[numbers[numbers >= 0]]).all()
        assert (rows[numbers < 0] == (-1 if name.endswith("_id") else 0)).all()


def same(plan, other):
    return np.array_equal(plan.order, other.order) and np.array_equal(plan.row_offsets, other.row_offsets)


def test_the_plan_is_a_function_of_lengths_seed_and_epoch():
    lengths = measure(random_tokenized(0))
    plans = {
        (seed, epoch): plan_epoch(lengths, SHAPES[0], seed=seed, epoch=epoch) for seed in (-1, 0, 1) for epoch in (0, 1)
    }
    for (seed, epoch), plan in plans.items():
        assert same(plan, plan_epoch(measure(random_tokenized(0)), SHAPES[0], seed=seed, epoch=epoch))
        assert all(not same(plan, other) for key, other in plans.items() if key != (seed, epoch))


def hh_like(seed, groups):
    """Lengths in the manner of HH: log-normal, nothing longer than 900 tokens with its group."""
    random = np.random.default_rng(seed)
    prefix = np.minimum(random.lognormal(4.3, 1.0, groups), 500).astype(np.int64)
    own = np.clip(random.lognormal(3.7, 0.9, 2 * groups), 1, 200).astype(np.int64)
    every = np.arange(groups + 1)
    return lengths_of(prefix, own, 2 * every, every, left=2 * every[:-1], right=2 * every[:-1] + 1)


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_full_and_the_stream_has_no_trend(seed):
    lengths = hh_like(seed, 20_000)
    shape = choose_row_shape(lengths, BatchConfig(row_length=1024))
    plan = plan_epoch(lengths, shape, seed=seed, epoch=0)
    assert plan.fill >= 0.985
    groups_in_row = np.diff(plan.row_offsets)
    group_of_row = np.repeat(np.arange(plan.rows), groups_in_row)
    assert abs(np.corrcoef(np.arange(plan.rows), groups_in_row)[0, 1]) < 0.05
    neighbours = np.corrcoef(groups_in_row[:-1], groups_in_row[1:])[0, 1]
    assert abs(neighbours) < 0.08  # nor do rows of many short groups stand together
    assert abs(np.corrcoef(group_of_row, plan.order)[0, 1]) < 0.05  # nor does the order of the data show


def test_a_row_takes_the_largest_group_that_fits_by_tokens():
    tokenized = random_tokenized(0, groups=30, most_responses=9, all_pairs=True)
    lengths = measure(tokenized)
    shape = choose_row_shape(lengths, BatchConfig(row_length=12 + 9 * 8))
    assert plan_epoch(lengths, shape, seed=1, epoch=1).split_groups == 0
    asked = BatchConfig(row_length=84, responses_per_row=5, comparisons_per_row=7)
    assert choose_row_shape(lengths, asked) == RowShape(length=84, responses=5, comparisons=7)


def best_of(responses, groups, prefix, own):
    """Groups of one shape: a prefix, and responses that are compared with the first."""
    of_groups, of_comparisons = responses * np.arange(groups + 1), (responses - 1) * np.arange(groups + 1)
    every = np.arange(responses * groups)
    return lengths_of(
        np.full(groups, prefix),
        np.full(len(every), own),
        of_groups,
        of_comparisons,
        left=np.repeat(of_groups[:-1], responses - 1),
        right=every[every % responses > 0],
    )


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_as_short_as_the_longest_comparison_where_that_fills_them(seed):
    lengths = hh_like(seed, 5_000)
    longest = lengths.comparison_tokens.max()
    chosen = choose_row_shape(lengths, BatchConfig())
    assert chosen.length % 128 == 0
    assert longest <= chosen.length < longest + 128
    assert chosen == choose_row_shape(lengths, BatchConfig(row_length=chosen.length))


def test_rows_are_longer_where_that_saves_padding():
    """A row of 256 holds one pair of 150 tokens, one of 384 two; nothing is to be saved for pairs of 128."""
    assert choose_row_shape(best_of(2, groups=1000, prefix=100, own=25), BatchConfig()).length == 384
    assert choose_row_shape(best_of(2, groups=1000, prefix=64, own=32), BatchConfig()).length == 128


def test_rows_are_longer_where_that_saves_prefixes_which_parts_repeat():
    """Eight responses to a prompt of 900: a row of 1024 holds two of them, one of 1536 all."""
    lengths = best_of(8, groups=200, prefix=900, own=60)
    chosen = choose_row_shape(lengths, BatchConfig())
    assert chosen.length == 1536
    assert plan_epoch(lengths, chosen, seed=0, epoch=0).split_groups == 0
    asked = BatchConfig(row_length=1024)
    assert plan_epoch(lengths, choose_row_shape(lengths, asked), seed=0, epoch=0).split_groups == 200


def test_slots_that_are_asked_for_are_kept_where_the_length_is_chosen():
    lengths = hh_like(0, 2_000)
    asked = BatchConfig(responses_per_row=6, comparisons_per_row=3)
    chosen = choose_row_shape(lengths, asked)
    assert (chosen.responses, chosen.comparisons) == (6, 3)
    assert chosen.length >= lengths.comparison_tokens.max()


def test_without_comparisons_rows_have_a_length_too():
    nothing = lengths_of(
        np.zeros(0, int),
        np.zeros(0, int),
        np.zeros(1, int),
        np.zeros(1, int),
        left=np.zeros(0, int),
        right=np.zeros(0, int),
    )
    assert choose_row_shape(nothing, BatchConfig()) == RowShape(length=128, responses=8, comparisons=8)


def test_what_fits_no_row_is_an_error_that_says_what_would():
    lengths = hh_like(0, 50)
    needs = lengths.prefix + lengths.own[lengths.left] + lengths.own[lengths.right]
    need, place = int(needs.max()), int(needs.argmax())
    expected = (
        rf"1 comparisons don't fit .* comparison 0 of preference {place} .* needs {need}; .* batch.row_length={need}"
    )
    with pytest.raises(RowTooShortError, match=expected):
        plan_epoch(lengths, RowShape(length=need - 1, responses=8, comparisons=8), seed=0, epoch=0)
    assert plan_epoch(lengths, RowShape(length=need, responses=8, comparisons=8), seed=0, epoch=0).rows
    with pytest.raises(RowTooShortError, match=r"response \d+ of record 0 .* doesn't fit a row of 3 tokens"):
        plan_in_order(lengths, RowShape(length=3, responses=8, comparisons=8))
    with pytest.raises(RowTooShortError, match="at least 2 responses"):
        plan_epoch(lengths, RowShape(length=900, responses=1, comparisons=8), seed=0, epoch=0)


def test_no_more_rows_than_first_fit_would_need_under_slot_limits():
    tokenized = random_tokenized(3, groups=300)
    lengths = measure(tokenized)
    plan = plan_epoch(lengths, RowShape(length=301, responses=9, comparisons=6), seed=0, epoch=0)
    parts = plan.parts
    responses, comparisons = np.diff(parts.response_offsets), np.diff(parts.comparison_offsets)
    least = max(parts.size.sum() / 301, responses.sum() / 9, comparisons.sum() / 6)
    assert plan.rows <= 1.25 * least
    assert Counter(plan.order.tolist()) == Counter(range(len(parts)))


def test_packing_needs_no_tokenizer_and_no_grain():
    others = ("tokenizers", "grain", "tensorflow_datasets", "orbax", "absl", "etils", "ml_collections")
    code = f"import sys\nsys.modules.update(dict.fromkeys({others}))\nimport rmjax.batches.packing, rmjax.batches.batch"
    root = Path(__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
