"""Per-example terms of the losses.

Logits have the classes on their last axis; all leading axes are the batch. Terms are computed in float32 or wider and
come unreduced, one value a row. Two of them carry their own derivative, because the obvious formulas lose every digit
just where training goes: log Σexp - z_y for a confident right answer, and KL(u‖p) for a uniform one.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from .._dtypes import wide
from ._sum import accurate_sum

# The class label that counts for nothing, as in PyTorch's cross entropy.
IGNORED = -100


def widen(logits: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
    """Float32 or wider: the losses of bfloat16 and float16 logits are computed and returned in float32."""
    return logits.astype(wide(logits.dtype))


def select_rows(logits: Float[Array, "*n k"], where: Bool[Array, "*n"] | None) -> Float[Array, "*n k"]:
    """Zeros in the rows that do not count.

    Masking the terms alone would hide a bad row's value but not its gradient: 0 · NaN is NaN.
    """
    return logits if where is None else jnp.where(where[..., None], logits, 0)


def all_rows(logits: Float[Array, "*n k"], where: Bool[Array, "*n"] | None) -> Bool[Array, "*n"]:
    return jnp.ones(logits.shape[:-1], bool) if where is None else where


def cross_entropy(
    logits: Float[Array, "*n k"], targets: Num[Array, "..."], where: Bool[Array, "*n"] | None = None
) -> tuple[Float[Array, "*n"], Bool[Array, "*n"]]:
    """Cross entropy a row, and which rows count.

    Targets are integer classes (-100 does not count; any other outside [0, K) gives NaN, in the gradient too) or class
    probabilities.
    """
    logits = widen(logits)
    counted = all_rows(logits, where)
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        targets = select_rows(targets.astype(logits.dtype), where)
        return probability_cross_entropy(select_rows(logits, where), targets), counted
    # Narrow labels are widened first: as int8 a K of 200 would wrap around.
    targets = targets.astype(jnp.int32) if targets.dtype.itemsize < 4 else targets
    if jnp.issubdtype(targets.dtype, jnp.signedinteger):  # -100 as an unsigned number is a label out of range
        counted = counted & (targets != IGNORED)
    labels = jnp.where(counted, targets, 0)
    poison = jnp.where((labels >= 0) & (labels < logits.shape[-1]), 1, jnp.nan).astype(logits.dtype)
    return label_cross_entropy(select_rows(logits, counted), labels) * poison, counted


@jax.custom_jvp
def label_cross_entropy(logits: Float[Array, "*n k"], labels: Int[Array, "*n"]) -> Float[Array, "*n"]:
    """Log Σ_k exp(z_k) - z_y, with every digit also where it is tiny."""
    return _label_cross_entropy(logits, labels)[0]


@label_cross_entropy.defjvp
def _label_cross_entropy_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    value, gradient = _label_cross_entropy(*primals)
    return value, jnp.sum(gradient * tangents[0], axis=-1)


def _label_cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    is_label = jax.lax.broadcasted_iota(labels.dtype, logits.shape, logits.ndim - 1) == labels[..., None]
    # A label out of range is clipped here; the caller makes its loss NaN.
    label = jnp.take_along_axis(logits, labels[..., None], axis=-1, mode="clip")
    # No label in here, so that the losses of a row with two labels share the exponentials.
    largest = jnp.max(logits, axis=-1, keepdims=True)
    _, exp = exp_shifted(logits, largest)
    largest_other = jnp.max(jnp.where(is_label, -jnp.inf, logits), axis=-1, keepdims=True)
    # Σ_k exp(z_k) - exp(z_y), summed without the term that it would lose its digits to.
    others = accurate_sum(jnp.where(is_label, 0, exp), bound=jnp.exp(largest_other - largest))
    below, exp_label = exp_shifted(label, largest)
    total = others + exp_label
    # Where the label's logit is the largest, total is 1 + others, and the sum would swallow small others.
    value = jnp.where(below == 0, jnp.log1p(others), jnp.log(total) - below)
    # p_k for the other classes, and for the label p_y - 1 = -Σ_{k≠y} p_k, again without cancellation.
    gradient = jnp.where(is_label, -others, exp) / total
    return value[..., 0], gradient


@jax.custom_jvp
def probability_cross_entropy(logits: Float[Array, "*n k"], targets: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """-Σ_k t_k log softmax_k(z), with every digit also where t is one-hot and z agrees."""
    return _probability_cross_entropy(logits, targets)[0]


@probability_cross_entropy.defjvp
def _probability_cross_entropy_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    value, by_logits, by_targets = _probability_cross_entropy(*primals)
    return value, jnp.sum(by_logits * tangents[0] + by_targets * tangents[1], axis=-1)


def _probability_cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array, Array]:
    top = jnp.argmax(logits, axis=-1, keepdims=True)
    is_top = jax.lax.broadcasted_iota(top.dtype, logits.shape, logits.ndim - 1) == top
    largest = jnp.max(logits, axis=-1, keepdims=True)
    shifted, exp = exp_shifted(logits, largest)
    second = jnp.max(jnp.where(is_top, -jnp.inf, logits), axis=-1, keepdims=True)
    # Sums without the top class, which would swallow the rest.
    rest = accurate_sum(jnp.where(is_top, 0, exp), bound=jnp.exp(second - largest))
    other_targets = jnp.where(is_top, 0, targets)
    targets_rest = accurate_sum(other_targets, bound=jnp.max(jnp.abs(other_targets), axis=-1, keepdims=True))
    mass = targets_rest + jnp.sum(targets - other_targets, axis=-1, keepdims=True)
    # -log p_k: no term is negative, so nothing cancels.
    surprise = jnp.log1p(rest) - shifted
    terms = jnp.where(targets == 0, 0, targets * surprise)
    value = accurate_sum(terms, bound=jnp.max(jnp.abs(terms), axis=-1, keepdims=True))
    # mass·p_k - t_k; for a top class of more than a half from the complements, for both may be near 1.
    complement = targets_rest - mass * (rest / (1 + rest))
    by_logits = jnp.where(is_top & (rest < 1), complement, mass * (exp / (1 + rest)) - targets)
    return value[..., 0], by_logits, surprise


@jax.custom_jvp
def uniform_divergence(logits: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """KL(u‖softmax(z)), u the uniform distribution, with every digit also near its minimum at 0.

    It equals log mean_k exp(z_k) - mean_k z_k. Two shifts leave it unchanged: by the largest logit, after which
    nothing overflows but the two terms may cancel; and by the mean, after which the second term is 0 and the first is
    log1p(mean_k(exp(c_k) - 1 - c_k)), a sum of squares to leading order that cannot cancel.
    """
    return _uniform_divergence(logits)[0]


@uniform_divergence.defjvp
def _uniform_divergence_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    value, gradient = _uniform_divergence(*primals)
    return value, jnp.sum(gradient * tangents[0], axis=-1)


def _uniform_divergence(logits: Array) -> tuple[Array, Array]:
    below_max = logits - jnp.max(logits, axis=-1, keepdims=True)
    classes = logits.shape[-1]
    mean = accurate_sum(below_max, bound=-4 * jnp.mean(below_max, axis=-1, keepdims=True)) / classes
    # exp(60) times any number of classes stays finite in float32; NaN and -inf logits fail the test, as they should.
    centered = -mean <= 60
    shift = jnp.where(centered, mean, 0)
    shifted, exp = exp_shifted(below_max, shift)
    largest_exp = jnp.exp(-shift)
    # Centred logits have mean 0, so mean exp(c) is 1 + mean(exp(c) - 1 - c).
    summed = accurate_sum(jnp.where(centered, _exp_remainder(shifted, exp), exp), largest_exp) / classes
    value = jnp.where(centered, jnp.log1p(summed), jnp.log(summed) - mean)
    # Not 1 + summed: the ratio of a term to a sum of the same terms is free of their errors where one term rules.
    mean_exp = accurate_sum(exp, largest_exp) / classes
    # p_k - 1/K, where K·p_k = exp(c_k - value): near 1 the difference would cancel, unless c_k itself is large.
    exponent = shifted - value
    near_uniform = centered & (jnp.abs(shifted) < 1) & (jnp.abs(exponent) < 0.5)
    gradient = jnp.where(near_uniform, exponent + _exp_series(exponent), exp / mean_exp - 1) / classes
    return value[..., 0], gradient


def _exp_remainder(x: Array, exp: Array) -> Array:
    """exp(x) - 1 - x, given exp(x)."""
    return jnp.where(jnp.abs(x) < 1, _exp_series(x), exp - 1 - x)


def _exp_series(x: Array) -> Array:
    """exp(x) - 1 - x for |x| < 1, by its power series; the difference would cancel."""
    x = jnp.clip(x, -1, 1)  # outside it is not used, but must not overflow
    terms = 18 if x.dtype == jnp.float64 else 11
    bracket = jnp.ones_like(x)
    for k in range(terms, 2, -1):
        bracket = 1 + x / k * bracket
    return x * x / 2 * bracket


def exp_shifted(logits: Array, shift: Array) -> tuple[Array, Array]:
    """The difference d = z - s, and exp(z - s) free of the rounding error of d, which exp would magnify |d| times."""
    shifted = logits - shift
    # What the difference lost, exactly: D. E. Knuth, "The Art of Computer Programming", volume 2, 4.2.2, theorem B.
    back = shifted - logits
    lost = jax.lax.stop_gradient((logits - (shifted - back)) - (shift + back))
    # Infinite differences lost nothing; without the select they would give NaN.
    return shifted, jnp.exp(shifted) * (1 + jnp.where(jnp.isfinite(lost), lost, 0))


def log_partition(logits: Float[Array, "*n k"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Log Σ_k exp(z_k) in two parts, the largest logit and the rest in [0, log K]: their sum, not yet rounded."""
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    # An infinite largest logit is no shift; without one the sum of exponentials is 0 or infinite, as it should.
    shift = jnp.where(jnp.isfinite(largest), largest, 0)
    total = accurate_sum(exp_shifted(logits, shift)[1], bound=jnp.exp(largest - shift))
    return shift[..., 0], jnp.log(total)[..., 0]


def log_classes(logits: Float[Array, "*n k"]) -> Float[Array, ""]:
    """Log K, the entropy of the uniform distribution."""
    return jnp.asarray(np.log(logits.shape[-1]), logits.dtype)
