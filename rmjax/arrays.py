"""The array types that appear in signatures."""

import jax
import numpy as np

Array = jax.Array | np.ndarray
