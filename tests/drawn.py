"""Variables of modules, drawn so that none is idle, without compiling an initialisation."""

import jax
import jax.numpy as jnp
import numpy as np


def variables(module, *args, mean=0.0, deviation=0.5):
    """Of the right shapes for `module.init(key, *args)`, in float32, none of them zero."""
    random = np.random.default_rng(9)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args)
    return jax.tree.map(
        lambda p: jnp.asarray(random.normal(mean, deviation, p.shape), jnp.float32), shapes
    )
