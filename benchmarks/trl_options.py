"""How TRL is to train: what a benchmark says to ``benchmarks.peer_trl``. Needs the standard library alone."""

import dataclasses
import json

LEARNING_RATE = 1e-4  # TRL's default


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrlOptions:
    """Attributes:

    total_steps: after which it ends, and the learning rate with it.
    windows: how many it is asked for, of ``steps`` each, that stand for an epoch; None is its own order.
    gradient_checkpointing: None is what it does by default.
    grouped: whether its sampling groups by length.
    threads: None is as many as it takes.
    platform: "cpu" or "cuda".
    new_weights: whether it makes them, instead of reading those of the folder.
    """

    pairs_per_step: int
    total_steps: int
    windows: int | None = None
    steps: int | None = None
    gradient_checkpointing: bool | None = None
    grouped: bool = False
    learning_rate: float = LEARNING_RATE
    weight_decay: float = 0.0
    seed: int
    threads: int | None
    platform: str = "cpu"
    bf16: bool = False
    attention: str = "sdpa"
    new_weights: bool = False

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def from_json(text: str) -> TrlOptions:
    """The inverse of ``TrlOptions.to_json``."""
    return TrlOptions(**json.loads(text))
