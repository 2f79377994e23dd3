"""Argument checks of the metrics: of static properties while tracing, and of the numbers where they are given.

A program cannot raise, so it answers NaN scores and empty sides with NaN. Where a call brings its arrays along, the
same is an error that says which side and why.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_array, check_mask, known_number

# Four times as many still fit in 32 bits.
_MOST_SCORES = 2**30 - 1


def check_scores(scores_in: Any, scores_out: Any, where_in: Any, where_out: Any) -> None:
    for side, scores, where in (("in", scores_in, where_in), ("out", scores_out, where_out)):
        name = f"scores_{side}"
        check_array(name, scores)
        if not jnp.issubdtype(scores.dtype, jnp.floating):
            raise TypeError(
                f"`{name}` must be floating-point, got dtype {scores.dtype}; cast with `{name}.astype(jnp.float32)`, "
                "which is exact for integers up to 2**24."
            )
        check_mask(f"where_{side}", where, f"of `{name}`", scores.shape)
    if scores_in.size + scores_out.size > _MOST_SCORES:
        raise ValueError(
            f"`scores_in` and `scores_out` must hold at most {_MOST_SCORES} scores together, got {scores_in.size} and "
            f"{scores_out.size}; use `score_histogram`, part by part."
        )


def given(*values: Any) -> bool:
    """Whether all the values are known now, so neither traced nor missing."""
    return not any(isinstance(value, jax.core.Tracer) for value in values)


def as_arrays(*values: Any) -> tuple[Any, ...]:
    """NumPy's arrays as JAX's, as the program will get them; everything else as it is."""
    return tuple(jnp.asarray(value) if isinstance(value, np.ndarray | np.generic) else value for value in values)


def counted_and_bad(bad: Callable[..., jax.Array], where: jax.Array | None, *values: jax.Array) -> tuple[int, int]:
    """How many entries count, and how many of these are bad, as Python's numbers."""
    with jax.ensure_compile_time_eval():  # numbers given to a function that is being traced are known all the same
        counted, wrong = _counted_and_bad(bad, where, *values)
        return int(counted), int(wrong)


@jax.jit(static_argnums=0)
def _counted_and_bad(bad: Callable[..., jax.Array], where: jax.Array | None, *values: jax.Array) -> tuple[Any, Any]:
    wrong = bad(*values)
    # What depends on no argument would be computed while tracing, by a program for each operation.
    counted = wrong.size if where is None else jnp.sum(where, dtype=jnp.int32)
    return counted, jnp.sum(wrong if where is None else wrong & where, dtype=jnp.int32)


def check_given_scores(scores_in: Any, scores_out: Any, where_in: Any, where_out: Any) -> None:
    """The scores that are known already hold no NaN and are not empty: one pass over each side."""
    scores_in, scores_out, where_in, where_out = as_arrays(scores_in, scores_out, where_in, where_out)
    check_scores(scores_in, scores_out, where_in, where_out)
    for side, scores, where in (("in", scores_in, where_in), ("out", scores_out, where_out)):
        if check_nans(side, scores, where) == 0:
            raise ValueError(
                f"`scores_{side}` must hold at least one score that counts, got shape {scores.shape} with none; a rate "
                f"needs both sides, so check the data or `where_{side}`."
            )


def check_nans(side: str, scores: Any, where: Any) -> int | None:
    """How many scores of a side count, None if that is not known yet, of which none is NaN."""
    if not given(scores, where):
        return None
    counted, nans = counted_and_bad(jnp.isnan, where, scores)
    if nans:
        raise ValueError(
            f"`scores_{side}` must not be NaN where it counts, got {nans} NaN of {counted} scores; NaN has no rank. "
            f"Find where it comes from, or leave it out with `where_{side}`."
        )
    return counted


def check_given_share(name: str, value: Any, *, least_is_legal: bool) -> None:
    """A number that is known already lies in [0, 1], or in (0, 1]."""
    share = known_number(value)
    if share is not None and not (0 < share <= 1 or (least_is_legal and share == 0)):
        interval = "[0, 1]" if least_is_legal else "(0, 1]"
        raise ValueError(f"`{name}` must be a share in {interval}, got {value}; 95 per cent are 0.95.")
