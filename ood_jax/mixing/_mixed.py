"""What every mixing augmentation returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Shaped

from .._sharding import left_to_compiler, spec_of


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


def mix_in_place(mix: Callable[..., Mixed], random: Any, x: Array, y: Array, *, one_lam: bool) -> Mixed:
    """`mix(random, x, y)`, laid out over devices as x and y are."""
    lam = PartitionSpec() if one_lam else PartitionSpec(spec_of(x)[0])
    specs: tuple[Any, ...] = (spec_of(x), spec_of(y), spec_of(y), lam)
    return left_to_compiler(mix, random, x, y, specs=Mixed(*specs))
