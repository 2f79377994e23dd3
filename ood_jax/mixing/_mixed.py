"""What every mixing augmentation returns."""

from typing import NamedTuple

from jaxtyping import Array, Float, Shaped


class Mixed(NamedTuple):
    """A mixed batch; unpacks as `x, y_a, y_b, lam`.

    Attributes:
      x: the mixed inputs, (N, ...).
      y_a: the targets of the rows themselves, (N, ...).
      y_b: the targets of their partners, (N, ...).
      lam: the weight of `y_a`, in [0, 1], float32: () for one a batch, (N,) with groups or one an example.
    """

    x: Shaped[Array, "n ..."]
    y_a: Shaped[Array, "n ..."]
    y_b: Shaped[Array, "n ..."]
    lam: Float[Array, ""] | Float[Array, " n"]
