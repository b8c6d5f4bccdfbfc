"""rmjax's scorer as a side: ``python -m benchmarks.side_scoring FOLDER``.

``{"requests": FILE}`` scores JSON rows ``{"prompt": …, "responses": […]}`` as ``rmjax.score`` does, tokenization
included, and answers with the time and the scores of all responses in order.
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks.sides import Clock, questions
from benchmarks.workload import VOCABULARY, read_folder
from rmjax.scoring.rows import parse_request
from rmjax.scoring.scorer import RewardScorer
from rmjax.training.parallel import make_model
from rmjax.training.processors import use_processors
from rmjax.training.trained import TrainedModel


def main(folder: Path) -> None:
    asked, answer = questions()
    use_processors()
    config, contract, _, params = read_folder(folder)
    model = make_model(config.model, VOCABULARY)
    on_device = jax.tree.map(jnp.asarray, params)
    scorer = RewardScorer(TrainedModel(config=config, model=model, params=on_device, contract=contract, step=0))
    for question in asked:
        rows = json.loads(Path(question["requests"]).read_text())
        clock = Clock()
        found = scorer.score_many([parse_request(row, origin="benchmark") for row in rows])
        answer(clock.read() | {"scores": [reward for rewards in found for reward in rewards]})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
