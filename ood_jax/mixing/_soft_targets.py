"""Dense targets of a mixed batch, for a loss that wants one distribution a row."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from .._api import public
from .._checks import as_number, check_array, check_kind, check_size
from .._dtypes import wide, wide_integers
from ._draw import over_rows
from ._mixed import Mixed


@public
def soft_targets(
    mixed: Mixed, num_classes: int, *, smoothing: Real[Array, ""] | float = 0.0
) -> Float[Array, "n num_classes"]:
    r"""The class probabilities of a mixed batch, $\lambda\, t(y_a) + (1 - \lambda)\, t(y_b)$.

    t is one-hot, or with smoothing s

    $$t_k(y) = (1 - s) [y = k] + s / K.$$

    It is what timm and torchvision return instead of two labels. A loss on the two labels (`mixup_cross_entropy`) gives
    the same number from less memory. Smoothing is off unless asked for; timm's default is 0.1.

    Args:
      mixed: from `mixup`, `cutmix` or their applies, with integer classes (N,), or class probabilities (N, K), which
        take the place of one-hot.
      num_classes: K. Static.
      smoothing: s in [0, 1]; another one gives NaN. Traced.

    Returns:
      Probabilities (N, K), float32 or wider. A class outside [0, K), -100 included, makes its row NaN: no distribution
      stands for a row that a mean should leave out.

    Raises:
      TypeError: `mixed` is not a `Mixed`, its targets are neither integer nor floating-point, or num_classes is not an
        int.
      ValueError: targets are neither (N,) integers nor (N, num_classes) floats, or `smoothing` is not a scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> draw = ood_jax.MixupDraw(lam=jnp.float32(0.75), partner=jnp.array([1, 0]))
      >>> mixed = ood_jax.apply_mixup(draw, jnp.zeros((2, 1)), jnp.array([0, 2]))
      >>> ood_jax.soft_targets(mixed, 3).tolist()
      [[0.75, 0.0, 0.25], [0.25, 0.0, 0.75]]

    References:
      Hongyi Zhang, Moustapha Cisse, Yann N. Dauphin, David Lopez-Paz, "mixup: Beyond Empirical Risk Minimization",
      ICLR 2018, section 2. Smoothing: Christian Szegedy et al., "Rethinking the Inception Architecture for Computer
      Vision", CVPR 2016, section 7.
    """
    check_kind("mixed", mixed, Mixed, "mixup", "cutmix")
    check_size("num_classes", num_classes, least=1)
    for name in ("y_a", "y_b", "lam"):
        check_array(f"mixed.{name}", getattr(mixed, name))
    smoothing = as_number("smoothing", smoothing)
    smoothing = jnp.where((smoothing >= 0) & (smoothing <= 1), smoothing, jnp.nan)
    dtype = wide(mixed.lam.dtype, mixed.y_a.dtype, mixed.y_b.dtype)
    probabilities = [
        _smoothed(_distribution(name, y, num_classes, dtype), smoothing.astype(dtype))
        for name, y in (("mixed.y_a", mixed.y_a), ("mixed.y_b", mixed.y_b))
    ]
    n = mixed.y_a.shape[0]
    if mixed.y_b.shape[0] != n or mixed.lam.shape not in ((), (n,)):
        raise ValueError(
            f"`mixed` must have a y_b of {n} rows and one λ or {n}, as y_a has {n} rows, got y_b of shape "
            f"{mixed.y_b.shape} and lam of shape {mixed.lam.shape}; take all from one batch."
        )
    lam = over_rows(mixed.lam.astype(dtype), 2)
    return lam * probabilities[0] + (1 - lam) * probabilities[1]


def _distribution(name: str, y: Array, num_classes: int, dtype: jnp.dtype) -> Array:
    if jnp.issubdtype(y.dtype, jnp.integer):
        if y.ndim != 1:
            raise ValueError(
                f"`{name}` of dtype {y.dtype} are classes and must have shape (N,), got {y.shape}; flatten it."
            )
        y = wide_integers(y)
        valid = (y >= 0) & (y < num_classes)
        return jnp.where(valid[:, None], jax.nn.one_hot(y, num_classes, dtype=dtype), jnp.nan)
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise TypeError(f"`{name}` must be integer classes or floating-point probabilities, got dtype {y.dtype}.")
    if y.ndim != 2 or y.shape[1] != num_classes:
        raise ValueError(
            f"`{name}` of dtype {y.dtype} are class probabilities and must have shape (N, {num_classes}), got "
            f"{y.shape}; classes must be integers."
        )
    return y.astype(dtype)


def _smoothed(probabilities: Array, smoothing: Array) -> Array:
    return (1 - smoothing) * probabilities + smoothing / probabilities.shape[1]
