"""Which dtype to compute in: float32 or wider.

Written out rather than left to `jnp.promote_types`, which fails under `jax_numpy_dtype_promotion="strict"`.
"""

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike


def wide(*dtypes: DTypeLike) -> np.dtype:
    """The widest of the dtypes and float32; integers and booleans count as float32, complex stays complex."""
    inexact = [jnp.dtype(dtype) for dtype in dtypes if jnp.issubdtype(dtype, jnp.inexact)]
    return max([jnp.dtype(jnp.float32), *inexact], key=lambda dtype: dtype.itemsize)
