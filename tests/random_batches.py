"""Random packed rows for tests: a second, slow implementation of packing that shares nothing with rmjax.batches.

A row is a list of trees; a tree is (tokens, subtrees), laid down depth-first. Each root-to-leaf path is a response.
"""

from typing import NamedTuple

import jax
import numpy as np

from rmjax.batches.batch import PreferenceBatch


class Tree(NamedTuple):
    tokens: list[int]
    children: list["Tree"]


class Laid(NamedTuple):
    """One row as lists, and the token path of each response in the order of its slots."""

    tokens: list[int]
    positions: list[int]
    visible_until: list[int]
    ends: list[int]
    paths: list[list[int]]
    groups: list[list[int]]  # the slots of each tree of the row


def random_tree(rng, vocabulary, children, *, longest=6, nested=False) -> Tree:
    """A prompt with so many responses; ``nested`` lets some responses share a second prefix."""

    def segment():
        return rng.integers(2, vocabulary, rng.integers(1, longest + 1)).tolist()

    leaves = [Tree(segment(), []) for _ in range(children)]
    if nested and children >= 3:
        leaves = [Tree(segment(), leaves[:2]), *leaves[2:]]
    return Tree(segment(), leaves)


def lay(trees) -> Laid:
    row = Laid([], [], [], [], [], [])

    def visit(tree, path):
        start = len(row.tokens)
        path = path + tree.tokens
        row.tokens.extend(tree.tokens)
        row.positions.extend(range(len(path) - len(tree.tokens), len(path)))
        row.visible_until.extend([-1] * len(tree.tokens))
        if not tree.children:
            row.groups[-1].append(len(row.ends))
            row.ends.append(len(row.tokens) - 1)
            row.paths.append(path)
        for child in tree.children:
            visit(child, path)
        row.visible_until[start : start + len(tree.tokens)] = [len(row.tokens)] * len(tree.tokens)

    for tree in trees:
        row.groups.append([])
        visit(tree, [])
    return row


def to_batch(rng, rows, *, length, responses, comparisons, heads=1) -> PreferenceBatch:
    """Rows (lists of trees) as a batch, with random labels on all pairs of each tree; shapes as given, padded."""
    ints = {name: np.zeros((len(rows), length), np.int32) for name in ("tokens", "positions", "visible_until")}
    ends = np.zeros((len(rows), responses), np.int32)
    response_id = np.full((len(rows), responses), -1, np.int32)
    pairs = {name: np.zeros((len(rows), comparisons), np.int32) for name in ("left", "right", "head")}
    labels = {name: np.zeros((len(rows), comparisons), np.float32) for name in ("probability", "margin", "weight")}
    comparison_id = np.full((len(rows), comparisons), -1, np.int32)
    for index, trees in enumerate(rows):
        row = lay(trees)
        for name, array in ints.items():
            array[index, : len(row.tokens)] = getattr(row, name)
        ends[index, : len(row.ends)] = row.ends
        response_id[index, : len(row.ends)] = index * responses + np.arange(len(row.ends))
        made = [(a, b) for slots in row.groups for a in slots for b in slots if a < b][:comparisons]
        for slot, (a, b) in enumerate(made):
            left, right = (a, b) if rng.random() < 0.5 else (b, a)
            pairs["left"][index, slot], pairs["right"][index, slot] = left, right
            pairs["head"][index, slot] = rng.integers(heads)
            labels["probability"][index, slot] = rng.choice([0.0, 0.3, 0.5, 0.9, 1.0])
            labels["margin"][index, slot] = rng.choice([0.0, 0.4, -1.0])
            labels["weight"][index, slot] = rng.choice([0.5, 1.0, 2.0])
            comparison_id[index, slot] = index * comparisons + slot
    return PreferenceBatch(
        **ints, response_end=ends, **pairs, **labels, response_id=response_id, comparison_id=comparison_id
    )


def random_rows(rng, rows, *, vocabulary=32, nested=False, longest=6):
    """So many rows of two or three trees with K = 1..5 responses."""
    return [
        [
            random_tree(rng, vocabulary, int(rng.integers(1, 6)), nested=nested, longest=longest)
            for _ in range(rng.integers(2, 4))
        ]
        for _ in range(rows)
    ]


def random_batch(seed, rows=4, *, length=128, heads=1, vocabulary=32, nested=True, longest=6) -> PreferenceBatch:
    """Rows of several trees with padding at the end; always 15 response slots and 30 comparison slots."""
    rng = np.random.default_rng(seed)
    drawn = random_rows(rng, rows, vocabulary=vocabulary, nested=nested, longest=longest)
    return to_batch(rng, drawn, length=length, responses=15, comparisons=30, heads=heads)


def small_model_config(**changes):
    """Two layers of width 16, heads grouped two to one."""
    from rmjax.model_config import ModelConfig

    base = {"width": 16, "layers": 2, "attention_heads": 4, "key_value_heads": 2, "head_size": 8, "mlp_width": 24}
    return ModelConfig(**{**base, **changes})


def lively(params, seed=0):
    """The parameters with random queries, which start at zero: without them no position would matter to attention."""
    rng = np.random.default_rng(seed)

    def fill(kernel):
        kernel = np.array(kernel)
        if kernel.ndim < 2 or kernel.any():
            return kernel
        return rng.normal(0, kernel.shape[-2] ** -0.5, kernel.shape).astype(kernel.dtype)

    return jax.tree.map(fill, params)
