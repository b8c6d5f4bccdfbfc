"""A tiny model behind the application that serves it, without a process of its own."""

import contextlib
import functools
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest
import uvicorn
from random_batches import lively
from starlette.testclient import TestClient
from untrained import random_text, untrained_config, untrained_contract

from rmjax.config import BatchConfig
from rmjax.models.reward import init
from rmjax.scoring.scorer import RewardScorer
from rmjax.scoring.server import make_app
from rmjax.scoring.serving import ServerSettings
from rmjax.training.parallel import make_model
from rmjax.training.trained import TrainedModel


@functools.cache
def _scorer(heads: tuple[str, ...], members: int, pessimism: float) -> RewardScorer:
    rows = 1 if heads or members > 1 else 8  # a single batch shape is compiled sooner
    config = untrained_config(heads=heads, batch=BatchConfig(row_length=256, rows=rows))
    config.model.ensemble = members
    contract = untrained_contract(config)
    network = make_model(config.model, contract.tokenizer.get_vocab_size())
    params = lively(init(network, jax.random.key(1)))
    trained = TrainedModel(config=config, model=network, params=params, contract=contract, step=3)
    return RewardScorer(trained, pessimism=pessimism)


def scorer_of(heads: tuple[str, ...] = (), *, members: int = 1, pessimism: float = 0.0) -> RewardScorer:
    """One for all tests of a process, so that it compiles once."""
    return _scorer(heads, members, pessimism)


@contextlib.contextmanager
def served(
    heads: tuple[str, ...] = (), *, members: int = 1, pessimism: float = 0.0, raises: bool = True, **settings: Any
) -> Iterator[TestClient]:
    """A client of the application; ``raises`` says whether what the server fails with is raised, or answered by 500."""
    app = make_app(scorer_of(heads, members=members, pessimism=pessimism), ServerSettings(model="tiny", **settings))
    with TestClient(app, raise_server_exceptions=raises) as client:
        yield client


@contextlib.contextmanager
def listening(scorer: RewardScorer, normalization: Any = None, **settings: Any) -> Iterator[str]:
    """The URL of a real server, in a thread."""
    app = make_app(scorer, ServerSettings(model="tiny", **settings), normalization)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


def random_row(rng: np.random.Generator) -> dict[str, Any]:
    """A prompt with 1 to 16 responses."""
    return {"prompt": random_text(rng, 20), "responses": [random_text(rng, 9) for _ in range(rng.integers(1, 17))]}


def alone(row: dict[str, Any]) -> list[float]:
    """The reward of each of a row's responses, computed by itself."""
    found = [scorer_of().score(row["prompt"], [response])[0] for response in row["responses"]]
    return [value for value in found if isinstance(value, float)]


def reward(prompt: str, response: str) -> float:
    """Of one response, computed by itself."""
    (found,) = alone({"prompt": prompt, "responses": [response]})
    return found


def posted(client: TestClient, path: str, body: object) -> dict[str, Any]:
    """The answer to a request that is to be answered."""
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def close(found: Any, expected: Any) -> bool:
    """Whether rewards are equal, but for rounding."""
    return found == pytest.approx(expected, rel=0, abs=1e-5)


class Stuck:
    """Keeps the scorer of an application from answering until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, client: Any):
        self.released, self.entered, self.groups = threading.Event(), threading.Event(), 0
        batcher = client.app.state.serving.batcher
        score = batcher._score

        def stuck(groups):
            self.entered.set()
            assert self.released.wait(30)
            self.groups += len(groups)
            return score(groups)

        monkeypatch.setattr(batcher, "_score", stuck)
