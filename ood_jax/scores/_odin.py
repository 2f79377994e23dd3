"""ODIN: a temperature, and a step of the input towards the predicted class."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from .._api import checked, public
from .._checks import as_number, check_array, check_function, check_logits, describe
from .._dtypes import wide
from ._softmax import softmax


def _check_apply(apply: Any) -> None:
    check_function("apply", apply, "from inputs to logits")


@checked(_check_apply)
@public
def odin_score(
    apply: Callable[[Float[Array, "n ..."]], Float[Array, "n k"]],
    x: Float[Array, "n ..."],
    *,
    temperature: Real[Array, ""] | float = 1000.0,
    epsilon: Real[Array, ""] | float = 0.0014,
) -> Float[Array, "n"]:
    r"""`msp_score` at temperature T of inputs that were moved towards their predicted class.

    $$\tilde x = x + \epsilon \operatorname{sign}(\nabla_x \log \max_k \mathrm{softmax}_k(f(x) / T)), \qquad
      1 - \max_k \mathrm{softmax}_k(f(\tilde x) / T)$$

    One backward pass and two forward passes of `apply`.

    Args:
      apply: f, the network from inputs (N, ...) to logits (N, K). Each example's logits must follow from that example
        alone, as with batch normalisation in inference mode: the gradient is that of the batch's sum. Static, and
        compiled with whatever weights it holds: the same object called again scores with the weights of the first
        call, a new one compiles again. Where weights change, call it inside a jitted function that takes them, as in
        the example.
      x: inputs (N, ...), any float dtype; `apply` sees them in float32 or wider, because in bfloat16 a small step is
        no step.
      temperature: T > 0. T <= 0 and NaN give NaN. Traced.
      epsilon: ε, the size of the step, in units of x; 0 leaves the inputs as they are. Where images are normalised by
        channel, a step in units of pixels needs the normalisation inside `apply`. Traced.

    Returns:
      Scores (N,) in [0, 1 - 1/K], float32 or wider; higher is more OOD. At T = 1000 they lie within about a thousandth
      of 1 - 1/K, for any logits of a usual size.

    Raises:
      TypeError: `apply` is not callable, is not hashable or does not return floating-point logits, `x` is not
        floating-point, or a number not real.
      ValueError: `apply` returns other than (N, K) logits, or a number is not a scalar.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import ood_jax
      >>> def network(weights, x):
      ...     return x @ weights
      >>> @jax.jit
      ... def score(weights, x):
      ...     return ood_jax.scores.odin_score(lambda x: network(weights, x), x, temperature=10.0, epsilon=0.1)
      >>> weights = jnp.array([[1.0, -1.0], [2.0, -2.0]])
      >>> print(score(weights, jnp.array([[3.0, 1.0], [0.1, 0.0]])).round(2))
      [0.26 0.48]

    References:
      Shiyu Liang, Yixuan Li, R. Srikant, "Enhancing The Reliability of Out-of-distribution Image Detection in Neural
      Networks", ICLR 2018, equations 1 and 2.
    """
    check_array("x", x)
    if not jnp.issubdtype(x.dtype, jnp.floating) or x.ndim < 1:
        raise TypeError(
            f"`x` must be a floating-point batch (N, ...), got {describe(x)}; scale images to floats, for a step of ε "
            "is lost in integers."
        )
    x = x.astype(wide(x.dtype))
    step = as_number("epsilon", epsilon).astype(x.dtype)

    def log_confidence(inputs: Array) -> Array:
        logits = apply(inputs)
        _check_output(logits, x.shape[0])
        return -jnp.sum(jnp.log1p(softmax(logits, temperature).rest))

    towards = x + step * jnp.sign(jax.grad(log_confidence)(x))
    rest = softmax(apply(towards), temperature).rest[..., 0]
    return rest / (1 + rest)


def _check_output(logits: Array, rows: int) -> None:
    check_logits("apply(x)", logits)
    if logits.ndim != 2 or logits.shape[0] != rows:
        raise ValueError(
            f"`apply(x)` must have shape ({rows}, K), one row of logits for each of `x`, got {logits.shape}; reduce "
            "other axes inside `apply`."
        )
