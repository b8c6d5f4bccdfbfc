"""The transformers text-classification pipeline as a side: ``python -m benchmarks.peer_pipeline FOLDER THREADS``.

``{"texts": FILE}`` scores a JSON list of texts, each a whole conversation with its end token spelled out, as its user
would: all at once in batches of 16, no function applied to the logit. Answers with the time and the scores.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import pipeline

from benchmarks.peer_model import load_model, load_tokenizer
from benchmarks.sides import Clock, questions

_BATCH = 16


def main(folder: Path, threads: int) -> None:
    asked, answer = questions()
    torch.set_num_threads(threads)
    model, tokenizer = load_model(folder).eval(), load_tokenizer(folder)
    classify = pipeline(
        "text-classification", model=model, tokenizer=tokenizer, batch_size=_BATCH, function_to_apply="none", device=-1
    )
    for question in asked:
        texts = json.loads(Path(question["texts"]).read_text())
        clock = Clock()
        found = classify(texts)
        answer(clock.read() | {"scores": [entry["score"] for entry in found]})


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
