"""GEN, the generalised entropy of the most probable classes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from .._api import public
from .._checks import as_number, check_size
from .._sum import accurate_sum
from ._softmax import Softmax, softmax


@public
def gen_score(
    logits: Float[Array, "*n k"], *, gamma: Real[Array, ""] | float = 0.1, top: int | None = None
) -> Float[Array, "*n"]:
    r"""The generalised entropy of the softmax, $\sum_{j \le M} p_j^\gamma (1 - p_j)^\gamma$ over its M largest p.

    Both factors are taken from logarithms that nothing cancels in, so it differs between confident examples also where
    1 - p is 0 in float32 and p of the other classes underflows, up to a lead of 87/γ.

    Args:
      logits: (..., K), any float dtype; computed in float32 or wider.
      gamma: γ > 0, in the paper 0.1. γ <= 0 and NaN give NaN. Traced.
      top: M, how many of the largest probabilities to sum, from 1 to K; None for all. The paper takes 100 of
        ImageNet's 1,000 classes. Static.

    Returns:
      Scores (...) no lower than 0, float32 or wider; higher is more OOD. A row of -inf alone has no softmax: NaN,
      unless K is 1.

    Raises:
      TypeError: `logits` is not floating-point, `gamma` not real, or `top` not an integer.
      ValueError: `logits` has no class axis, `gamma` is not a scalar, or `top` is not from 1 to K.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> [f"{score:.4f}" for score in ood_jax.scores.gen_score(jnp.array([[20.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), top=2)]
      ['0.2804', '1.7207']

    References:
      Xixi Liu, Yaroslava Lochman, Christopher Zach, "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution
      Detection", CVPR 2023, equations 3 and 4.
    """
    parts = softmax(logits)
    power = as_number("gamma", gamma).astype(parts.gaps.dtype)
    power = jnp.where(power > 0, power, jnp.nan)
    log_rest = _log_rest(parts)
    gaps, is_top = parts.gaps, parts.is_top
    if top is not None:
        _check_top(top, logits.shape[-1])
        gaps, _ = jax.lax.top_k(gaps, top)
        is_top = jax.lax.broadcasted_iota(jnp.int32, gaps.shape, gaps.ndim - 1) == 0
    log_total = jnp.log1p(parts.rest)
    log_share = gaps - log_total
    # 1 - p of the top class is the others' share; any other class has no more than a half, so 1 - p is harmless.
    log_complement = jnp.where(is_top, log_rest - log_total, jnp.log1p(-jnp.where(is_top, 0, jnp.exp(log_share))))
    exponent = log_share + log_complement
    vanishes = exponent == -jnp.inf
    return accurate_sum(jnp.where(vanishes, 0, jnp.exp(power * jnp.where(vanishes, 0, exponent))))


def _log_rest(parts: Softmax) -> Array:
    """Log Σ exp(gap_k) over the classes but the top one, also where the sum underflows; -inf if there is none."""
    others = jnp.where(parts.is_top, -jnp.inf, parts.gaps)
    second = jax.lax.stop_gradient(jnp.max(others, axis=-1, keepdims=True))
    shift = jnp.where(jnp.isfinite(second), second, 0)
    mass = jnp.sum(jnp.exp(others - shift), axis=-1, keepdims=True)
    present = mass > 0
    return jnp.where(present, jnp.log(jnp.where(present, mass, 1)) + shift, -jnp.inf)


def _check_top(top: int, classes: int) -> None:
    check_size("top", top, least=1)
    if top > classes:
        raise ValueError(f"`top` must be at most the {classes} classes of `logits`, got {top}; None sums over all.")
