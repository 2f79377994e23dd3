"""Values that are known already, and still differentiate."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.custom_derivatives import SymbolicZero


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def known(function: Callable[..., Any], value: Any, *args: Any) -> Any:
    """`value`, which is `function(*args)`, computed on the way to its derivative; it differentiates as that does.

    A rule that returned the value as it computed it would leave it to be differentiated by the formulas inside, where
    branches that choose a formula by the largest logit have lost a part, and rows that do not count are not masked.
    (From outside of a loop JAX 0.10 takes second derivatives in that way nevertheless: it drops the rules of what a
    `scan` computes for its value.)
    """
    return value


@partial(known.defjvp, symbolic_zeros=True)
def _known_jvp(function: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    value, *args = primals
    leaves, tree = jax.tree.flatten(args)
    along = jax.tree.leaves(tangents[1:])
    moving = [i for i, tangent in enumerate(along) if not isinstance(tangent, SymbolicZero)]

    def of(*moved: Any) -> Any:
        given = list(leaves)
        for i, leaf in zip(moving, moved, strict=True):
            given[i] = leaf
        return function(*jax.tree.unflatten(tree, given))

    _, derivative = jax.jvp(of, [leaves[i] for i in moving], [along[i] for i in moving])
    return known(function, value, *args), derivative
