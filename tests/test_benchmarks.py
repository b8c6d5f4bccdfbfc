"""The parts of the benchmarks that compute something; none of them needs the peers."""

import dataclasses
import os
import sys
import time

import jax
import numpy as np
import pytest

from benchmarks import importing, starts, workload
from benchmarks.arithmetic import distinct_tokens, training_on, visible_pairs
from benchmarks.llama_weights import from_llama, llama_config, to_llama
from benchmarks.representative import padded_tokens, representative_windows
from benchmarks.sides import Side
from rmjax.batches.lengths import GroupLengths, measure
from rmjax.batches.packing import RowShape, pack, plan_epoch, plan_in_order
from rmjax.model_config import ModelConfig
from rmjax.models.flops import matrix_parameters
from rmjax.models.huggingface import HuggingFaceModel
from rmjax.models.reward import RewardModel, init, parameter_count, rewards

SMALL = ModelConfig(width=16, layers=2, attention_heads=4, key_value_heads=2, head_size=8, mlp_width=24)


def small_params():
    return jax.tree.map(np.asarray, init(RewardModel(SMALL, 32), jax.random.PRNGKey(0)))


def test_weights_come_back_from_llama_as_they_went():
    params = small_params()
    back = from_llama(to_llama(params))
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


def test_llama_has_all_numbers_in_the_shapes_of_its_config():
    arrays, config = to_llama(small_params()), llama_config(SMALL, 32, longest=64)
    assert sum(array.size for array in arrays.values()) == parameter_count(small_params())
    key_width = config["num_key_value_heads"] * config["head_dim"]
    assert arrays["model.embed_tokens.weight"].shape == (config["vocab_size"], config["hidden_size"])
    assert arrays["model.layers.1.self_attn.k_proj.weight"].shape == (key_width, config["hidden_size"])
    assert arrays["model.layers.0.mlp.down_proj.weight"].shape == (config["hidden_size"], config["intermediate_size"])
    assert arrays["score.weight"].shape == (config["num_labels"], config["hidden_size"])


def one_group(prefix, *own):
    """Responses of so many tokens after so many that all share."""
    count = len(own)
    return GroupLengths(
        whole=prefix + np.array(own),
        place=np.arange(count),
        common=np.array([0, *[prefix] * (count - 1)]),
        group_offsets=np.array([0, count]),
        comparison_offsets=np.array([0, 1]),
        left=np.array([0]),
        right=np.array([1]),
        response_origin=np.zeros((count, 2), np.int32),
        comparison_origin=np.zeros((1, 2), np.int32),
    )


def test_the_arithmetic_of_a_group_counted_by_hand():
    """A prefix of 2 and responses of 1 and 3: the prefix sees 1 + 2, the responses 3 and 3 + 4 + 5."""
    lengths = one_group(2, 1, 3)
    assert distinct_tokens(lengths) == 6
    assert visible_pairs(lengths) == 3 + 3 + 12
    # Of 16 numbers: queries 32, keys and values 16 each, 32 back to 16; the MLP 24 up twice and down.
    parameters = 2 * 16 * (32 + 16 + 16 + 32 + 3 * 24)
    assert matrix_parameters(SMALL) == parameters
    assert training_on(SMALL, lengths) == 6 * parameters * 6 + 12 * 2 * 32 * 18


def test_matrix_parameters_are_the_kernels_of_the_layers():
    kernels = small_params()["backbone"]["layers"]
    matrices = [kernels[branch] for branch in ("attention_branch", "mlp_branch")]
    assert matrix_parameters(SMALL) == sum(leaf.size for leaf in jax.tree.leaves(matrices))


def random_pairs(count, seed=0):
    random = np.random.default_rng(seed)
    conversations = []
    for _ in range(count):
        prompt = random.integers(2, 32, random.integers(1, 12))
        for _ in range(2):
            conversations.append(np.concatenate([prompt, random.integers(2, 32, random.integers(1, 9)), [1]]))
    return workload.as_pairs(conversations)


def test_visible_pairs_are_those_that_packed_rows_show():
    tokenized = random_pairs(12).tokenized()
    lengths = measure(tokenized)
    plan = plan_epoch(lengths, RowShape(length=64, responses=16, comparisons=8), seed=0, epoch=0)
    batch = pack(tokenized, plan, slice(None))
    until, index = batch.visible_until, np.arange(64)
    seen = (index[None, None, :] <= index[None, :, None]) & (index[None, :, None] < until[:, None, :])
    assert visible_pairs(lengths) == seen.sum()
    assert distinct_tokens(lengths) == (until > 0).sum()


def test_padded_tokens_are_both_sides_at_the_longest_of_the_batch():
    sequences = np.array([[3, 5], [7, 2], [1, 1], [4, 6], [2, 9]])
    assert padded_tokens(sequences, 2).tolist() == [4 * 7, 4 * 6, 2 * 9]


def test_windows_take_one_batch_of_each_stratum_and_none_twice():
    costs = np.random.default_rng(1).permutation(np.arange(40))
    windows = representative_windows(costs, 5, 4, seed=0)
    assert windows.shape == (5, 4)
    assert len(np.unique(windows)) == windows.size
    for window in windows:
        assert sorted(costs[window] // 10) == [0, 1, 2, 3]
    assert np.array_equal(windows, representative_windows(costs, 5, 4, seed=0))


def test_too_few_batches_for_the_windows_are_an_error():
    with pytest.raises(ValueError, match="7 batches are too few for 4 windows of 2 steps; 8 are needed"):
        representative_windows(np.arange(7), 4, 2, seed=0)


def test_pairs_that_are_taken_keep_their_tokens_and_their_order():
    pairs = random_pairs(6)
    taken = pairs.taken([4, 1])
    assert [taken.conversation(number).tolist() for number in range(4)] == [
        pairs.conversation(number).tolist() for number in (8, 9, 2, 3)
    ]
    assert taken.lengths.tolist() == pairs.lengths[[4, 1]].tolist()


def saying(*lines, then=""):
    """The command of a process that says so on stderr."""
    each = f"for line in {lines!r}: print(line, file=sys.stderr, flush=True); time.sleep(0.05)"
    return [sys.executable, "-c", f"import sys, time\n{each}\n{then}"]


LINES = [f"{mark}3" for mark in starts.MARKS.values()]


def test_a_start_is_followed_to_its_first_step_and_then_ended():
    began = time.monotonic()
    found = starts.follow(saying("train: 9", *LINES, then="time.sleep(60)"), dict(os.environ))
    assert time.monotonic() - began < 30
    assert list(found) == ["tokenized_seconds", "state_seconds", "seconds"]
    assert 0 < found["tokenized_seconds"] < found["state_seconds"] < found["seconds"]


def test_a_start_that_ends_early_is_an_error_with_what_it_said():
    with pytest.raises(SystemExit, match=r"without a line that begins with 'step 1 of ':\n(.|\n)*the model has 3"):
        starts.follow(saying(*LINES[:-1]), dict(os.environ))


def test_rows_in_a_step_hold_sixteen_pairs_on_average():
    pairs = random_pairs(400)
    batch = workload.choose_batch(pairs, row_length=64, rows=None)
    plan = plan_epoch(measure(pairs.tokenized()), RowShape(length=64, responses=64, comparisons=64), seed=0, epoch=0)
    assert abs(batch.rows * len(pairs) / plan.rows - 16) <= len(pairs) / plan.rows / 2
    assert workload.choose_batch(pairs, row_length=None, rows=None).row_length == 128


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_rows_go_round_evenly_over_devices(devices):
    pairs = random_pairs(400)
    batch = workload.choose_batch(pairs, row_length=None, rows=None, devices=devices, pairs_per_step=160)
    assert batch.rows % devices == 0
    shape = RowShape(length=batch.row_length, responses=512, comparisons=512)
    plan = plan_epoch(measure(pairs.tokenized()), shape, seed=0, epoch=0)
    assert abs(batch.rows * len(pairs) / plan.rows - 160) < 40


def test_the_model_of_a_folder_gives_the_rewards_of_its_parameters(tmp_path):
    params = small_params()
    np.savez(tmp_path / "weights.npz", **to_llama(params))
    with np.load(tmp_path / "weights.npz") as stored:
        loaded = from_llama(stored)
    tokenized = random_pairs(5).tokenized()
    plan = plan_in_order(measure(tokenized), RowShape(length=64, responses=16, comparisons=0))
    batch = pack(tokenized, plan, slice(None))
    model = RewardModel(SMALL, 32)
    assert np.array_equal(rewards(model, params, batch), rewards(model, loaded, batch))


def test_a_side_answers_in_its_turn_and_what_it_prints_stays_out_of_its_answers(tmp_path, monkeypatch, capfd):
    script = (
        "from benchmarks.sides import Clock, questions\n"
        "asked, answer = questions()\n"
        "for question in asked:\n"
        "    clock = Clock()\n"
        "    print('noise')\n"
        "    answer({'twice': 2 * question['number']} | clock.read())\n"
    )
    (tmp_path / "echoing_side.py").write_text(script)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Side("echoing_side") as side:
        found = [side.ask(number=number) for number in range(3)]
    assert [answer["twice"] for answer in found] == [0, 2, 4]
    assert all(set(answer) == {"twice", "seconds", "busy", "peak_gib"} for answer in found)
    assert capfd.readouterr().err.count("noise") == 3


def test_a_side_that_dies_is_an_error_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "dying_side.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Side("dying_side") as side, pytest.raises(SystemExit, match="dying_side ended with code 3"):
        side.ask(number=1)


def test_a_checkpoint_to_import_has_the_size_and_the_shards_that_were_asked_for(tmp_path):
    layers = importing.layers_of(SMALL, 32, 2e5)
    shape = dataclasses.replace(SMALL, layers=layers)
    importing.write_checkpoint(tmp_path, shape, 32, shards=5)
    files = list(tmp_path.glob("*.safetensors"))
    assert sum(path.stat().st_size for path in files) == pytest.approx(2e5, rel=0.2)
    assert len(files) in (5, 6)  # a tensor that no longer fits goes into the next
    theirs = HuggingFaceModel(tmp_path)
    assert (dataclasses.replace(theirs.config, max_positions=None), theirs.vocabulary_size) == (shape, 32)
    template = importing.abstract(shape, 32)
    params = theirs.load(template, jax.random.PRNGKey(0))
    kernel = np.asarray(params["backbone"]["layers"]["mlp_branch"]["up"]["kernel"])
    assert kernel.shape[0] == layers
    assert kernel.std() == pytest.approx(0.02, rel=0.2)
