"""The losses of a mixed batch."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float, Num

from .._api import checked, public
from .._checks import as_real, check_function, check_logits, check_targets
from .._dtypes import wide
from ._reduce import masked_sum
from ._terms import two_cross_entropies


def _check_criterion(criterion: Any) -> None:
    check_function("criterion", criterion, "of (pred, y)")


@checked(_check_criterion)
@public
def mixup_criterion(
    criterion: Callable[[Any, Any], Num[Array, "..."]],
    pred: Any,
    y_a: Any,
    y_b: Any,
    lam: Float[Array, "..."] | float,
) -> Float[Array, "..."]:
    r"""Any loss of a mixed batch: $\lambda\, L(f(\tilde x), y_a) + (1 - \lambda)\, L(f(\tilde x), y_b)$.

    Args:
      criterion: L(pred, y), a JAX function. Static: pass the same function object each time, for a new one compiles
        again.
      pred: the model's output for the mixed inputs, whatever `criterion` takes.
      y_a: the targets of the rows themselves, from `Mixed`.
      y_b: the targets of their partners, from `Mixed`.
      lam: the weight of `y_a` in [0, 1], from `Mixed`: (), or (N,), which needs a criterion that returns one loss an
        example, (N, ...). Another one extrapolates.

    Returns:
      The mixed loss, of the shape that `criterion` returns, in float32 or wider.

    Raises:
      TypeError: `criterion` is not a hashable function or does not return an array, or `lam` is not real.
      ValueError: `lam` has more than one axis, or one entry an example and `criterion` does not return as many losses.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> import ood_jax
      >>> images, labels = jnp.ones((4, 8, 8, 1)), jnp.arange(4)
      >>> mixed = ood_jax.cutmix(jax.random.key(0), images, labels, per_example=True)
      >>> logits = jnp.zeros((4, 10))
      >>> losses = ood_jax.mixup_criterion(
      ...     optax.softmax_cross_entropy_with_integer_labels, logits, mixed.y_a, mixed.y_b, mixed.lam
      ... )
      >>> losses.shape, round(float(losses.mean()), 4)
      ((4,), 2.3026)

    References:
      Hongyi Zhang, Moustapha Cisse, Yann N. Dauphin, David Lopez-Paz, "mixup: Beyond Empirical Risk Minimization",
      ICLR 2018, section 2, for a loss linear in its targets, as cross entropy is.
    """
    lam = as_real("lam", lam)
    loss_a, loss_b = criterion(pred, y_a), criterion(pred, y_b)
    loss_a, loss_b = as_real("criterion(pred, y_a)", loss_a), as_real("criterion(pred, y_b)", loss_b)
    if loss_a.shape != loss_b.shape:
        raise ValueError(
            f"`criterion` must return losses of one shape for y_a and y_b, got {loss_a.shape} and {loss_b.shape}; pass "
            "targets of one shape."
        )
    dtype = wide(loss_a.dtype, loss_b.dtype)
    weight = _line_up(lam, loss_a).astype(dtype)
    return weight * loss_a.astype(dtype) + (1 - weight) * loss_b.astype(dtype)


def _line_up(lam: Array, loss: Array) -> Array:
    if lam.ndim == 0:
        return lam
    if lam.ndim > 1:
        raise ValueError(f"`lam` must have shape () or (N,), got {lam.shape}; pass the one that mixing returned.")
    if loss.shape[:1] != lam.shape:
        raise ValueError(
            f"`criterion` must return one loss an example, shape ({lam.shape[0]}, ...), for `lam` of shape "
            f"{lam.shape}, got {loss.shape}; take the mean after mixing, not inside `criterion`."
        )
    return lam.reshape(lam.shape + (1,) * (loss.ndim - 1))


@public
def mixup_cross_entropy(
    logits: Float[Array, "*n k"],
    y_a: Num[Array, "..."],
    y_b: Num[Array, "..."],
    lam: Float[Array, "..."] | float,
) -> Float[Array, ""]:
    r"""The mean cross entropy of a mixed batch.

    $$\lambda \operatorname{mean}_i \mathrm{CE}(z_i, a_i) + (1 - \lambda) \operatorname{mean}_i \mathrm{CE}(z_i, b_i)$$

    Equal to `mixup_criterion` with a mean cross entropy, and to cross entropy with the soft targets
    λ·onehot(a) + (1 - λ)·onehot(b), but the logits are exponentiated once.

    Args:
      logits: (..., K), any float dtype; computed in float32 or wider.
      y_a: the targets of the rows themselves: integer classes (...), of which -100 counts for nothing and any other
        outside [0, K) makes the loss NaN, or class probabilities (..., K).
      y_b: the targets of their partners, of the same kind.
      lam: the weight of `y_a` in [0, 1], () or (N,) for the first axis. With λ a row, each mean is over λ_i·CE_i.
        Another one than in [0, 1] extrapolates.

    Returns:
      The loss, a scalar, float32 or wider. Each of the two means is over the rows whose own target counts, as in the
      definition; a mean over no rows is 0.

    Raises:
      TypeError: `logits` is not floating-point, or targets or `lam` have the wrong kind.
      ValueError: shapes differ.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import ood_jax
      >>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 3.0, 0.0]])
      >>> loss = ood_jax.mixup_cross_entropy(logits, jnp.array([0, 1]), jnp.array([1, 0]), 0.7)
      >>> soft = 0.7 * jnp.eye(3)[jnp.array([0, 1])] + 0.3 * jnp.eye(3)[jnp.array([1, 0])]
      >>> bool(jnp.isclose(loss, -(soft * jax.nn.log_softmax(logits)).sum(-1).mean()))
      True

    References:
      Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, section 2.
    """
    check_logits("logits", logits)
    check_targets("y_a", y_a, logits)
    check_targets("y_b", y_b, logits)
    lam = as_real("lam", lam)
    if lam.shape not in ((), logits.shape[:-1][:1]):
        raise ValueError(
            f"`lam` must have shape () or one entry for each row of `logits`, {logits.shape[:-1][:1]}, got {lam.shape}."
        )
    entropy_a, entropy_b = two_cross_entropies(logits, y_a, y_b)
    weight = _line_up(lam, entropy_a.values).astype(entropy_a.values.dtype)
    mean_a = masked_sum(weight * entropy_a.values, entropy_a.counted).mean
    return mean_a + masked_sum((1 - weight) * entropy_b.values, entropy_b.counted).mean
