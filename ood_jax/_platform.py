"""What a GPU computes in another way than the rest."""

from collections.abc import Callable
from typing import Any

import jax


def on_gpu(there: Callable[..., Any], otherwise: Callable[..., Any], *args: Any) -> Any:
    """The first function of the arguments on a GPU and the second elsewhere, chosen when the program is lowered.

    A GPU's arithmetic costs less than its memory, so there it is better to compute than to write down, and to read once
    than twice. On CPU, XLA writes down what it sums anyhow; on TPU it decides well by itself.
    """
    return jax.lax.platform_dependent(*args, cuda=there, rocm=there, default=otherwise)
