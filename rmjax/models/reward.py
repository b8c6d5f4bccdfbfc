"""The reward model: the backbone, and a linear reward read at the last token of each response."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.nn.initializers import Initializer
from jaxtyping import Float, Float32, Int

from rmjax.arrays import Array
from rmjax.batches.batch import PreferenceBatch
from rmjax.model_config import ModelConfig
from rmjax.models.attention import Attention, dense_attention
from rmjax.models.axes import named
from rmjax.models.layers import make_norm
from rmjax.models.shape import ModelShape, model_shape
from rmjax.models.transformer import Backbone

Params = dict[str, Any]

# Rewards start with a standard deviation of about 0.1: the first loss is close to log 2, as for a coin, and yet the
# backbone has a gradient from the first step, which a head of zeros would keep from it.
HEAD_INITIALIZER = nn.initializers.variance_scaling(0.01, "fan_in", "normal")
HEAD_KERNEL = ("reward_head", "kernel")  # float32 [width, heads * members], the members of a head beside each other


class RewardModel(nn.Module):
    """Outputs of the responses in packed rows: for each reward head its members, one where there is no ensemble.

    The members of an ensemble share the backbone and differ in their linear heads, as those of "Deep exploration via
    bootstrapped DQN" (Osband et al., 2016, arXiv 1602.04621). They start from weights of their own, which random priors
    (Osband et al., 2018, arXiv 1806.03335) would add nothing to: the sum of two linear heads is one.

    Attributes:
      config: what the model is made of; frozen when the module is made, so later changes to the config don't reach it.
      vocabulary_size: number of rows of the embedding.
      attention: the attention implementation, of the signature of ``dense_attention``.
    """

    config: ModelConfig | ModelShape
    vocabulary_size: int
    attention: Attention = dense_attention

    def __post_init__(self) -> None:
        self.config = model_shape(self.config)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        tokens: Int[Array, "rows length"],
        positions: Int[Array, "rows length"],
        visible_until: Int[Array, "rows length"],
        response_end: Int[Array, "rows responses"],
    ) -> Float[Array, "rows responses outputs"]:
        """Float32; a slot that no response uses gets the output of the token its response_end points to."""
        shape = model_shape(self.config)
        backbone = Backbone(shape, self.vocabulary_size, self.attention, name="backbone")
        hidden = backbone(tokens, positions, visible_until)
        # Only the tokens that are read go through the final norm and the head.
        read = jnp.take_along_axis(hidden, response_end[:, :, None], axis=1)
        read = make_norm(shape, "final_norm", jnp.dtype(jnp.float32))(read)
        outputs = max(1, len(shape.reward_heads)) * shape.ensemble
        initializer = named(_scaled(HEAD_INITIALIZER, shape.ensemble_scale), "read", "reward")
        head = nn.Dense(outputs, use_bias=False, dtype=jnp.float32, kernel_init=initializer, name="reward_head")
        return head(read)


def init(model: RewardModel, key: Array) -> Params:
    """Fresh float32 parameters, a function of the key alone."""
    return _compiled_init(_of_any_row(model), key)


@functools.partial(jax.jit, static_argnums=0)
def _compiled_init(model: RewardModel, key: Array) -> Params:
    return nn.meta.unbox(_named_init(model, key))


def parameter_axes(model: RewardModel) -> Params:
    """The tree of the parameters, with a PartitionSpec of axis names (see ``rmjax.models.axes``) for each array."""
    return nn.get_partition_spec(jax.eval_shape(lambda: _named_init(_of_any_row(model), jax.random.PRNGKey(0))))


def _of_any_row(model: RewardModel) -> RewardModel:
    """The model with an attention that works on the smallest rows; parameters depend on neither. So models that differ
    in their attention alone are initialized by one program."""
    return model.clone(attention=dense_attention)


def _named_init(model: RewardModel, key: Array) -> Params:
    """Parameters that carry the names of their axes."""
    row = jnp.zeros((1, 2), jnp.int32)
    return dict(model.init(jnp.asarray(key), row, row, row, row)["params"])


def rewards(
    model: RewardModel, params: Params, batch: PreferenceBatch, *, dropout_key: Array | None = None
) -> Float[Array, "rows responses heads"]:
    """The rewards of the batch's responses, of an ensemble the means over its members; dropout works if and only if a
    key is given."""
    return mean_of_members(member_rewards(model, params, batch, dropout_key=dropout_key))


def member_rewards(
    model: RewardModel, params: Params, batch: PreferenceBatch, *, dropout_key: Array | None = None
) -> Float[Array, "rows responses heads members"]:
    """The same by member."""
    keys = None if dropout_key is None else {"dropout": jnp.asarray(dropout_key)}
    rows = (batch.tokens, batch.positions, batch.visible_until, batch.response_end)
    outputs = jnp.asarray(model.apply({"params": params}, *rows, rngs=keys))  # it may return variables too, when asked
    return outputs.reshape(*outputs.shape[:2], -1, model_shape(model.config).ensemble)


def mean_of_members(members: Any) -> Any:
    """What the members, on the last axis of an array of JAX or NumPy, give together; of a single one its own, bit for
    bit."""
    return members[..., 0] if members.shape[-1] == 1 else members.mean(axis=-1)


def head_kernel(params: Params, head: int, members: int) -> Float32[np.ndarray, "width"]:
    """The weights of a linear head whose output is the mean of the members of one of the model's."""
    kernel = np.asarray(params[HEAD_KERNEL[0]][HEAD_KERNEL[1]], np.float32)
    return mean_of_members(kernel.reshape(len(kernel), -1, members)[:, head])


def _scaled(initializer: Initializer, scale: float) -> Initializer:
    return initializer if scale == 1.0 else lambda *args, **kwargs: initializer(*args, **kwargs) * scale


def parameter_count(params: Params) -> int:
    """How many numbers the parameters are."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
