"""The softmax of logits in the parts from which scores keep their digits: the top class, and the others beside it."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Real

from .._checks import as_number, check_logits
from .._sum import accurate_sum
from ..losses._lookup import is_class, logit_at
from ..losses._terms import tempered, widen


class Softmax(NamedTuple):
    """p_k = exp(gap_k) / (1 + rest).

    Attributes:
      gaps: (z_k - max z) / T, no larger than 0, and 0 for the top class.
      is_top: the largest logit; of several, the first.
      rest: Σ exp(gap_k) over the classes but the top one.
    """

    gaps: Float[Array, "*n k"]
    is_top: Bool[Array, "*n k"]
    rest: Float[Array, "*n 1"]

    @property
    def shares(self) -> Float[Array, "*n k"]:
        """The probabilities."""
        return jnp.exp(self.gaps) / (1 + self.rest)


def softmax(logits: Float[Array, "*n k"], temperature: Real[Array, ""] | float = 1.0) -> Softmax:
    """Checks the logits and takes them apart, in float32 or wider."""
    check_logits("logits", logits)
    logits = widen(logits)
    scale = as_number("temperature", temperature).astype(logits.dtype)
    scale = jnp.where(scale > 0, scale, jnp.nan)
    top = jnp.argmax(logits, axis=-1)
    largest, is_top = logit_at(logits, top), is_class(logits, top)
    # The top class is not subtracted from itself, so a logit of +inf is a certain class. NaN stays NaN, if alone too.
    own = jnp.where(jnp.isnan(largest), jnp.nan, 0).astype(logits.dtype)
    # Subtracted before it is divided: the rounding of z / T would be that of the logits, not of their differences.
    gaps = tempered(jnp.where(is_top, own, logits - largest), scale)
    terms = jnp.where(is_top, gaps, jnp.exp(gaps))
    return Softmax(gaps, is_top, accurate_sum(terms)[..., None])
