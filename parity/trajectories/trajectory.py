"""Two curves of losses, and the verdict on them."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]

# How many times the effect of one rounding of each weight a step is allowed. A step rounds more than its weights: the
# outputs, their derivatives and the gradients of three layers, and the update twice, in both frameworks, is about 20
# roundings for that one, and being independent they have √20 ≈ 4 times its effect. Sums of hundreds of terms round
# several times, which makes it 3 times as much, and chance, of which a few probes see little, 2 to 3 times more.
ROUNDINGS = 32

APART = 1e-5
"""Which share of the largest loss so far is chaos in float32: a hundred times its spacing."""


class Trajectory(NamedTuple):
    """One method's losses at each step, in both frameworks.

    Attributes:
      method: one of `METHODS`.
      dtype: "float32" or "float64", of everything computed.
      ours: the losses (steps,) with ood_jax, Flax and optax.
      source: the losses (steps,) with the PyTorch definitions.
      growth: what a relative change of each weight in each step has changed the loss by, over the size of that change;
        the largest up to that step.
    """

    method: str
    dtype: str
    ours: Curve
    source: Curve
    growth: Curve

    @property
    def differences(self) -> Curve:
        """How far apart the losses are at each step."""
        return np.abs(self.ours - self.source)

    @property
    def largest_difference(self) -> float:
        """The largest of them."""
        return float(self.differences.max())

    @property
    def response(self) -> Curve:
        """What one rounding of each weight a step does to the loss, in this dtype."""
        return float(jnp.finfo(self.dtype).eps) / 2 * self.growth

    @property
    def allowed(self) -> Curve:
        """How far apart roundings alone may put the losses at each step."""
        return ROUNDINGS * self.response

    @property
    def comparable(self) -> bool:
        """Whether there are curves, of one length and finite."""
        curves = (self.ours, self.source, self.growth)
        one_length = self.ours.size > 0 and len({curve.shape for curve in curves}) == 1
        return one_length and all(np.isfinite(curve).all() for curve in curves)

    @property
    def share(self) -> float:
        """The largest difference as a share of what is allowed at its step; infinite if nothing can be compared."""
        return float((self.differences / self.allowed).max()) if self.comparable else np.inf

    @property
    def agrees(self) -> bool:
        """Whether roundings explain every difference."""
        return self.share <= 1

    def chaos_step(self, relative: float = APART) -> int | None:
        """The first step where the losses are further apart than this share of the largest so far, or None."""
        apart = np.flatnonzero(self.differences > relative * np.maximum.accumulate(np.abs(self.source)))
        return int(apart[0]) if apart.size else None

    def __str__(self) -> str:
        """The verdict and its figures."""
        if not self.comparable:
            return f"{self.method} {self.dtype}: DISAGREES, losses that are not finite or not as many in both"
        verdict = "agrees" if self.agrees else "DISAGREES"
        apart = f"at most {self.largest_difference:.1e} apart"
        return f"{self.method} {self.dtype}: {verdict}, {apart}, {self.share:.2g} of what roundings explain"
