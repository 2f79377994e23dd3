"""The symmetric beta distribution, from two uniforms and no loop."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Real, UInt32

from .._api import public
from .._checks import as_real, check_key, check_shape
from ._words import open_uniform


@public
def symmetric_beta(
    key: Key[Array, ""], alpha: Real[Array, "..."] | float, shape: tuple[int, ...] = ()
) -> Float[Array, "..."]:
    r"""Draws from Beta(α, α).

    With U and V uniform on (0, 1),

    $$X = \tfrac12 \left(1 + \frac{\operatorname{sign}(c)}{\sqrt{1 + 1/t}}\right), \qquad
      t = \left(U^{-1/\alpha} - 1\right) c^2, \qquad c = \sin\left(\pi (V - \tfrac12)\right).$$

    Unlike `jax.random.beta` there is no rejection loop: it compiles quickly, runs inside `shard_map`, needs no
    communication when sharded, and is differentiable in α.

    Args:
      key: a typed PRNG key.
      alpha: α > 0, one number or an array of the shape drawn. α <= 0 and NaN give NaN, for there is no such
        distribution.
      shape: the shape drawn. Static.

    Returns:
      Draws in [0, 1], float32, of shape `shape`. Below α of about 0.1 many of them are exactly 0 or 1, the float32
      numbers nearest to the draw.

    Raises:
      TypeError: `key` is not a typed key, or `alpha` is not real.
      ValueError: `key` is not a single key, or `alpha` is neither a scalar nor of shape `shape`.

    Example:
      >>> import jax
      >>> import ood_jax
      >>> lam = ood_jax.symmetric_beta(jax.random.key(0), 0.4, (100_000,))
      >>> lam.shape, lam.dtype
      ((100000,), dtype('float32'))
      >>> print(f"mean {lam.mean():.2f}, variance {lam.var():.3f}, expected {1 / (4 * (2 * 0.4 + 1)):.3f}")
      mean 0.50, variance 0.139, expected 0.139

    References:
      Luc Devroye, "Random variate generation in one line of code", Winter Simulation Conference, 1996 (symmetric
      beta). Ralph W. Bailey, "Polar generation of random variates with the t-distribution", Mathematics of
      Computation 62, 1994 (Theorem 1).
    """
    check_key(key)
    check_shape(shape)
    # In this shape, for of numbers in a row to be reshaped each device would draw all.
    words = jax.random.bits(key, (2, *shape), jnp.uint32)
    return beta_of(words, _as_alpha(alpha, shape))


def beta_of(words: UInt32[Array, "2 ..."], alpha: Array) -> Float[Array, "..."]:
    """A draw from Beta(α, α) for each pair of random words."""
    u, v = open_uniform(words)
    c = jnp.sin(jnp.pi * (v - 0.5))
    # Beyond these bounds every draw is 0 or 1, or every draw is ½, to float32; inside them no derivative overflows.
    # A product with the reciprocal, for into that the compiler turns an array divided by one number, but not a number
    # divided by another: with a division, a draw's last bit would depend on how many draws a device makes.
    exponent = jnp.log(u) * (1 / jnp.clip(alpha, 1e-10, 1e30))
    # In terms of q = U^(1/α), which cannot overflow as its inverse does, 1 + t = (c² + (1 - c²) q) / q.
    q = jnp.exp(exponent)
    scale = c**2 + (1 - c**2) * q
    root = jnp.abs(c) * jnp.sqrt(-jnp.expm1(exponent) / scale)
    # ½(1 - root), written without the difference that would cancel as root goes to 1.
    tail = 0.5 * (q / scale) / (1 + root)
    return jnp.where(alpha > 0, jnp.where(c < 0, tail, 1 - tail), jnp.nan)


def _as_alpha(alpha: Array | float, shape: tuple[int, ...]) -> Array:
    alpha = as_real("alpha", alpha)
    if alpha.shape not in ((), shape):
        raise ValueError(
            f"`alpha` must be one number or have the shape drawn, {shape}, got {alpha.shape}; broadcast it first."
        )
    return alpha.astype(jnp.float32)
