"""Responses scored a second: rmjax's scorer against the transformers text-classification pipeline.

    python -m benchmarks.scoring --manual_dir=FOLDER [--models=4x256,8x512] [--windows=3] [--prompts=32]

Both have the same weights and threads and get the same text: prompts of HH, in ``best_of_16`` each with 16 responses
(its own two and those of the seven rows after it), in ``pairs`` with its own two. rmjax's limits are the lowest that no
row of HH exceeds, so nothing is cut. The pipeline takes all conversations in order, in batches of 16; rmjax takes
prompts with their responses. Both tokenize inside the time that is measured. One pass of each warms up (rmjax compiles
in it), then they take turns.

One JSON line for each model and case: ``rmjax`` and ``transformers`` in responses a second (medians), their ``ratio``,
and the largest difference between their two scores of one response.
"""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import workload
from benchmarks.sides import PEERS, Answer, Side, say
from rmjax.batches.contract import TextContract
from rmjax.batches.tokenizer import END_TOKEN
from rmjax.config import ExperimentConfig
from rmjax.preferences.record import Preference

_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "HH in the published layout.", required=True)
_MODELS = flags.DEFINE_list("models", list(workload.MODELS), "Which models.")
_WINDOWS = flags.DEFINE_integer("windows", 3, "Passes of each side that are timed.")
_PROMPTS = flags.DEFINE_integer("prompts", 32, "Prompts of best_of_16; pairs has eight times as many.")
_THREADS = flags.DEFINE_integer("threads", 2, "Processors of each side.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the weights and the choice of texts.")
_RESPONSES = 16
_MULTIPLE = 64

Row = dict[str, Any]


def make_cases(preferences: list[Preference], prompts: int) -> dict[str, list[Row]]:
    """The rows of either case, as many responses in both."""
    pairs = [
        {"prompt": preference.prompt, "responses": list(preference.responses)}
        for preference in preferences[: prompts * _RESPONSES // 2]
    ]
    best_of = [
        {
            "prompt": row["prompt"],
            "responses": [text for other in pairs[place : place + _RESPONSES // 2] for text in other["responses"]],
        }
        for place, row in enumerate(pairs[:prompts])
    ]
    return {f"best_of_{_RESPONSES}": best_of, "pairs": pairs}


def conversations(rows: list[Row]) -> list[str]:
    """The texts that the pipeline is given."""
    return [row["prompt"] + response + END_TOKEN for row in rows for response in row["responses"]]


def longest(texts: Iterable[str], contract: TextContract) -> int:
    """Tokens of the longest text, with room for an end token, rounded up."""
    found = contract.tokenizer.encode_batch_fast(list(texts))
    return -(-(max(len(encoding.ids) for encoding in found) + 2) // _MULTIPLE) * _MULTIPLE


def compare(model: str, case: str, rows: list[Row], folder: Path, own: Side, peer: Side) -> Answer:
    """The line of a case."""
    requests, texts = folder / f"{case}_requests.json", folder / f"{case}_texts.json"
    requests.write_text(json.dumps(rows))
    texts.write_text(json.dumps(conversations(rows)))
    rmjax, theirs = own.ask(requests=str(requests))["scores"], peer.ask(texts=str(texts))["scores"]
    pace: dict[str, list[float]] = {"rmjax": [], "transformers": []}
    for _ in range(_WINDOWS.value):
        for name, answer in (
            ("rmjax", own.ask(requests=str(requests))),
            ("transformers", peer.ask(texts=str(texts))),
        ):
            pace[name].append(len(rmjax) / answer["seconds"])
            say(f"{model} {case} {name}: {pace[name][-1]:.2f} responses a second, {answer['busy']:.2f} processors busy")
    medians = {name: statistics.median(found) for name, found in pace.items()}
    return {
        "model": model,
        "case": case,
        **medians,
        "ratio": medians["rmjax"] / medians["transformers"],
        "largest_difference": max(abs(one - other) for one, other in zip(rmjax, theirs, strict=True)),
        "responses": len(rmjax),
        "windows": _WINDOWS.value,
        "threads": _THREADS.value,
    }


def main(_: list[str]) -> None:
    hh = workload.open_hh(_MANUAL_DIR.value, seed=_SEED.value, threads=_THREADS.value)
    cases = make_cases(hh.preferences, _PROMPTS.value)
    max_prompt = longest((str(entry.prompt) for entry in hh.preferences), hh.contract)
    max_response = longest((str(text) for entry in hh.preferences for text in entry.responses), hh.contract)
    for name in _MODELS.value:
        config = ExperimentConfig(model=workload.MODELS[name], batch=workload.choose_batch(hh.pairs, None, None))
        config.text.max_prompt_tokens, config.text.max_response_tokens = max_prompt, max_response
        with (
            workload.set_stage(hh, name, config, longest=max_prompt + max_response) as stage,
            stage.side("benchmarks.side_scoring") as own,
            stage.side("benchmarks.peer_pipeline", str(_THREADS.value), python=PEERS) as peer,
        ):
            for case, rows in cases.items():
                print(json.dumps(compare(name, case, rows, stage.folder, own, peer)), flush=True)


if __name__ == "__main__":
    app.run(main)
