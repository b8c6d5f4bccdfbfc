# The function as the package's own name; it needs no jax, nor does anything that this imports.
from rmjax.scoring.stage_two import reward_function as reward_function
