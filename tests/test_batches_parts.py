"""Groups that are split or carved: in few parts, full ones, and no comparison twice."""

import itertools

import numpy as np
import pytest
from tokenized_data import lengths_of

from rmjax.batches.carving import carve
from rmjax.batches.choose_row import choose_row_shape
from rmjax.batches.packing import parts_to_train, plan_epoch
from rmjax.batches.parts import compared_parts
from rmjax.batches.row_shape import RowShape
from rmjax.config import BatchConfig


def test_a_ranking_is_split_into_few_parts():
    """Ten responses of 10 tokens after a prompt of 20, six of them to a row: 45 comparisons, at most 15 in a part."""
    tokenized_lengths = lengths_of(
        np.array([20]),
        np.full(10, 10),
        np.array([0, 10]),
        np.array([0, 45]),
        left=np.array([left for left in range(10) for right in range(left)]),
        right=np.array([right for left in range(10) for right in range(left)]),
    )
    plan = plan_epoch(tokenized_lengths, RowShape(length=80, responses=6, comparisons=15), seed=0, epoch=0)
    assert sorted(plan.parts.comparisons.tolist()) == list(range(45))
    assert 3 < plan.rows <= 7


def test_a_split_group_takes_as_few_rows_as_could_hold_it():
    """One response of 300 tokens compared with 24 others of 20 to 319, in rows of 1000."""
    for seed in range(3):
        random = np.random.default_rng(seed)
        own = np.append(300, random.integers(20, 320, 24))
        others = np.arange(1, 25)
        lengths = lengths_of(
            np.array([40]), own, np.array([0, 25]), np.array([0, 24]), left=np.zeros(24, int), right=others
        )
        parts = plan_epoch(lengths, RowShape(length=1000, responses=32, comparisons=32), seed=0, epoch=0).parts
        assert len(parts) == -(-own[1:].sum() // (1000 - 340))  # no fewer could hold them


@pytest.mark.parametrize("responses", [4, 32])
@pytest.mark.parametrize("seed", range(4))
def test_a_part_of_responses_to_one_reference_is_as_full_as_any_choice_of_them_makes_it(seed, responses):
    """The reference and the first of the others are given, whatever fits beside them is free."""
    random = np.random.default_rng(seed)
    prompt, own = 40, random.integers(20, 320, 12)
    lengths = lengths_of(
        np.array([prompt]), own, np.array([0, 12]), np.array([0, 11]), left=np.zeros(11, int), right=np.arange(1, 12)
    )
    parts = plan_epoch(lengths, RowShape(length=1000, responses=responses, comparisons=32), seed=0, epoch=0).parts
    given = prompt + own[0] + own[1]
    sums = [
        given + sum(chosen)
        for count in range(responses - 1)
        for chosen in itertools.combinations(own[2:].tolist(), count)
    ]
    assert parts.size[0] == max(size for size in sums if size <= 1000)
    assert len(parts) > 1


def compared_with_the_first(prompts, own):
    """Lengths of groups, a row of ``own`` each, in which all responses are compared with the first."""
    groups, size = own.shape
    first = np.arange(groups)[:, None] * size
    return lengths_of(
        prompts,
        own.reshape(-1),
        np.arange(groups + 1) * size,
        np.arange(groups + 1) * (size - 1),
        left=np.repeat(first, size - 1),
        right=(first + np.arange(1, size)).reshape(-1),
    )


@pytest.mark.parametrize("seed", range(3))
def test_groups_too_large_to_lie_two_to_a_row_fill_what_others_leave_free(seed):
    """300 groups of a reference and eleven others, most of them more than half of a row."""
    random = np.random.default_rng(seed)
    own = np.exp(random.normal(np.log(80), 0.5, (300, 12))).astype(int) + 5
    lengths = compared_with_the_first(random.integers(20, 300, 300), own)
    shape = choose_row_shape(lengths, BatchConfig(row_length=2048))
    plan = plan_epoch(lengths, shape, seed=seed, epoch=0)
    assert sorted(plan.parts.comparisons.tolist()) == list(range(3300))
    alone = (compared_parts(lengths, shape).size > 1024).sum()  # as many rows are needed where nothing is carved
    assert plan.rows < 0.75 * alone
    again = carve(lengths, shape, plan.parts)
    assert len(again) == len(plan.parts)  # nothing is left to be carved


def test_groups_are_carved_only_where_a_shuffled_epoch_has_fewer_rows_for_it():
    """2200 groups whose pieces find room among all rows, but not among those of a window."""
    random = np.random.default_rng(0)
    own = random.integers(10, 80, (2200, 6))
    lengths = compared_with_the_first(random.integers(10, 21, 2200), own)
    shape = RowShape(length=256, responses=64, comparisons=64)
    whole = compared_parts(lengths, shape)
    carved = parts_to_train(lengths, shape)
    for seed in range(3):
        rows = [plan_epoch(lengths, shape, seed=seed, epoch=0, parts=parts).rows for parts in (carved, whole)]
        assert rows[0] <= rows[1]
