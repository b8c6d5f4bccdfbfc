"""The backbone: a decoder-only transformer over packed rows, from tokens to the hidden states of its last layer."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float, Int

from rmjax.arrays import Array
from rmjax.model_config import Remat
from rmjax.models.attention import Attention
from rmjax.models.axes import LAYERS, laid_out, named
from rmjax.models.layers import Layer, Places
from rmjax.models.rotary import Rotation, frequencies, rotation
from rmjax.models.shape import ModelShape

# Embeddings start about as small as one residual branch, so that neither drowns the other in the first layers.
EMBEDDING_INITIALIZER = nn.initializers.variance_scaling(1.0, "fan_out", "normal")


class Backbone(nn.Module):
    """Embeds tokens and runs the layers; the final norm is left to whoever reads the hidden states, of few tokens.

    The parameters of all layers are stacked on a first axis. Dropout works where a ``dropout`` key is given.
    """

    shape: ModelShape
    vocabulary_size: int
    attention: Attention

    @nn.compact
    def __call__(
        self,
        tokens: Int[Array, "rows length"],
        positions: Int[Array, "rows length"],
        visible_until: Int[Array, "rows length"],
    ) -> Float[Array, "rows length width"]:
        shape = self.shape
        embedded = self._looked_up("embedding", self.vocabulary_size, "vocabulary", tokens)
        if shape.scaled_embedding:
            embedded *= jnp.asarray(shape.width**0.5, shape.dtype)
        if shape.position_embeddings is not None:
            embedded += self._looked_up("position_embedding", shape.position_embeddings, "positions", positions)
        hidden = nn.Dropout(shape.dropout, deterministic=not self.has_rng("dropout"))(_sent_to_rows(embedded))
        layers = nn.scan(
            _rematerialized(shape),
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(nn.broadcast, 0),  # pyright: ignore[reportArgumentType] annotated as int, documented as this too
            length=shape.layers,
            unroll=min(shape.unroll, shape.layers),
            metadata_params=LAYERS,
            # The check traces each layer a second time, and keys that layers draw are those of the second time: where
            # none is drawn it is left out, and where some are, parameters and dropout are the same for a seed as ever.
            check_constancy_invariants=self.is_initializing() or self.has_rng("dropout"),
        )
        places = Places(_rotations(shape, positions), positions, visible_until)
        hidden, _ = layers(shape, self.attention, name="layers")(hidden, places, jnp.array(shape.sees_all))
        return hidden

    def _looked_up(
        self, name: str, count: int, axis: str, which: Int[Array, "rows length"]
    ) -> Float[Array, "rows length width"]:
        """Of an embedding for each of ``count`` numbers."""
        embed = nn.Embed(
            count,
            self.shape.width,
            dtype=self.shape.dtype,
            embedding_init=named(EMBEDDING_INITIALIZER, axis, "embedding_width"),
            name=name,
        )
        return embed(laid_out(which, "lookup_rows", "length"))


def _rotations(shape: ModelShape, positions: Int[Array, "rows length"]) -> tuple[Rotation, Rotation] | None:
    """Of layers that see all and of layers with a window; None where positions are learned."""
    if shape.position_embeddings is not None:
        return None
    everywhere = rotation(positions, frequencies(shape, sees_all=True))
    if shape.local_rope_theta is None:
        return everywhere, everywhere
    return everywhere, rotation(positions, frequencies(shape, sees_all=False))


def _sent_to_rows(looked_up: Float[Array, "rows length width"]) -> Float[Array, "rows length width"]:
    """What was looked up in an embedding whose width is split over devices, laid out as the layers take it.

    Each device looks up its share of the width for the tokens of many rows, so the table and its gradient stay where
    they are, and only what was looked up is sent. In three steps, of each of which XLA makes one exchange.
    """
    for axes in (("lookup_rows", "embedding_width"), ("lookup_rows", "width"), ("rows", "features")):
        looked_up = laid_out(looked_up, axes[0], "length", axes[1])
    return looked_up


def _rematerialized(shape: ModelShape) -> type[Layer]:
    """The layer, whose backward pass computes again what ``remat`` says."""
    if shape.remat is Remat.NONE:
        return Layer
    # Products of weights and activations have no batch axes; those of attention, which grow with the square of the
    # length, have.
    policy = jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims if shape.remat is Remat.DOTS else None
    # Inside a scan of several turns nothing can be merged with the forward pass, so remat needs no barrier against it.
    return nn.remat(Layer, prevent_cse=shape.unroll >= shape.layers, policy=policy)
