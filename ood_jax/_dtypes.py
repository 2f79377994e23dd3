"""Which dtype to compute in: float32 or wider.

Written out rather than left to `jnp.promote_types`, which fails under `jax_numpy_dtype_promotion="strict"`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike


def wide(*dtypes: DTypeLike) -> np.dtype:
    """The widest of the dtypes and float32; integers and booleans count as float32, complex stays complex."""
    inexact = [jnp.dtype(dtype) for dtype in dtypes if jnp.issubdtype(dtype, jnp.inexact)]
    return max([jnp.dtype(jnp.float32), *inexact], key=lambda dtype: dtype.itemsize)


def wide_integers(x: jax.Array) -> jax.Array:
    """Integers of 32 bits or more, to be compared with a size: as int8, 200 classes would wrap around."""
    return x.astype(jnp.int32) if x.dtype.itemsize < 4 else x
