"""The arithmetic that a reward model must do, counted from its shape: a multiplication and an addition are two."""

from rmjax.model_config import ModelConfig
from rmjax.models.shape import ModelShape

Shape = ModelConfig | ModelShape


def matrix_parameters(shape: Shape) -> int:
    """The numbers of all matrices that every token is multiplied with; embedding, norms and reward head are not."""
    heads = 2 * shape.attention_heads + 2 * shape.key_value_heads
    mlp = (3 if shape.gated_mlp else 2) * shape.mlp_width
    return shape.layers * shape.width * (heads * shape.head_size + mlp)


def forward_flops(shape: Shape, *, tokens: float, visible_pairs: float) -> float:
    """One forward pass: ``2 * matrix_parameters`` for each token, and ``4 * heads * head_size * layers`` for each pair
    of tokens of which one sees the other (a product for the score, another for the mixture)."""
    attention = 4.0 * shape.attention_heads * shape.head_size * shape.layers
    return 2.0 * matrix_parameters(shape) * tokens + attention * visible_pairs


def training_flops(shape: Shape, *, tokens: float, visible_pairs: float, frozen: int = 0, adapters: int = 0) -> float:
    """Forward and backward pass, the latter twice the former; nothing that is computed again is counted.

    Of ``frozen`` of the matrices' parameters no gradient is computed, which is a third of their arithmetic;
    ``adapters`` is how many parameters these have.
    """
    return 3 * forward_flops(shape, tokens=tokens, visible_pairs=visible_pairs) + (6 * adapters - 2 * frozen) * tokens
