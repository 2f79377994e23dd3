"""Argument checks: kind, dtype, rank and size, which are static, and numbers where they are at hand.

They run while a function is traced, so in a compiled program they cost nothing. Every message says which argument is
wrong, what was expected, what came, and what to do.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def describe(value: Any) -> str:
    """What came, for a message."""
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, jax.Array) else type(value).__name__


def check_array(name: str, value: Any) -> None:
    if not isinstance(value, jax.Array):
        raise TypeError(f"`{name}` must be an array, got {describe(value)}; convert it with `jnp.asarray({name})`.")


def check_kind(name: str, value: Any, kind: type, *makers: str) -> None:
    """A state, a draw or another such tuple, made by one of some functions."""
    if not isinstance(value, kind):
        made = " or ".join(f"`{maker}`" for maker in makers)
        raise TypeError(f"`{name}` must be a {kind.__name__}, got {describe(value)}; make one with {made}.")


def check_function(name: str, value: Any, kind: str) -> None:
    """A function that is compiled into a program, and the first argument."""
    if not callable(value):
        raise TypeError(f"`{name}` must be a function {kind}, got {describe(value)}; pass it first.")
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"`{name}` must be hashable, for it is compiled, got {describe(value)}; wrap it, as in "
            "`lambda *args: f(*args)`."
        ) from None


def check_key(key: Any) -> None:
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"`key` must be a typed PRNG key, got {describe(key)}; make one with `jax.random.key(seed)`, or wrap raw "
            "key data with `jax.random.wrap_key_data`."
        )
    if key.shape:
        raise ValueError(f"`key` must be a single key, got shape {key.shape}; use `jax.vmap` to map over many keys.")


def as_real(name: str, value: Any) -> jax.Array:
    """A real number, or an array of them: neither boolean nor complex."""
    if type(value) in (int, float):  # a default is not traced, so not yet an array
        return jnp.asarray(value)
    if value is None:
        raise TypeError(f"`{name}` must be a number, got NoneType; pass a Python number or a JAX scalar.")
    check_array(name, value)
    if not (jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)):
        raise TypeError(f"`{name}` must be real, got dtype {value.dtype}; pass integers or floats.")
    return value


def as_number(name: str, value: Any) -> jax.Array:
    """A real scalar."""
    value = as_real(name, value)
    if value.shape:
        raise ValueError(
            f"`{name}` must be a single number, got shape {value.shape}; use `jax.vmap` to map over several values."
        )
    return value


def check_size(name: str, value: Any, *, least: int) -> None:
    """A static whole number, at least `least`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        operator.index(value)
    except TypeError:
        raise TypeError(
            f"`{name}` must be an integer known at trace time, got {type(value).__name__}; pass a Python int, such as "
            "one taken from `x.shape`."
        ) from None
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}.")


def check_shape(shape: Any) -> None:
    if not isinstance(shape, tuple):
        raise TypeError(f"`shape` must be a tuple of integers, got {describe(shape)}.")
    for axis, size in enumerate(shape):
        check_size(f"shape[{axis}]", size, least=0)


def check_flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, got {value!r}; it is fixed at trace time.")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        allowed = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"`{name}` must be {allowed}, got {value!r}.")


def check_groups(n: int, groups: Any) -> None:
    if groups is None:
        return
    check_size("groups", groups, least=1)
    if n % groups:
        raise ValueError(
            f"`groups` must divide the batch, got {n} rows and groups={groups}; choose a divisor of {n}, such as the "
            "number of data shards."
        )


def check_axis_name(axis_name: Any) -> None:
    if axis_name is None:
        return
    names = axis_name if isinstance(axis_name, tuple) else (axis_name,)
    if not (names and all(isinstance(name, str) for name in names)):
        raise TypeError(
            f"`axis_name` must be the name of a mesh axis or a tuple of names, got {axis_name!r}; give the names that "
            "`shard_map` or `pmap` was given."
        )
    try:
        jax.lax.axis_size(axis_name)
    except NameError as error:
        raise ValueError(
            f"`axis_name` must name axes of the `shard_map` or `pmap` around the call, got {axis_name!r}, not all of "
            "which are there. Outside of one leave it out: a sharded batch is seen whole there."
        ) from error


def check_shards(groups: int | None, shards: int, axis_name: Any) -> None:
    """With a batch split over a named axis, whole groups lie on each shard."""
    if groups is None or groups % shards:
        raise ValueError(
            f"`groups` must be a multiple of the {shards} shards of axis {axis_name!r}, got {groups}; no shard sees "
            f"another's rows. Pass groups={shards} for one group a shard, or drop `axis_name` to make each shard a "
            "batch of its own."
        )


def check_image_size(image_size: Any) -> None:
    if not isinstance(image_size, tuple) or len(image_size) != 2:
        raise TypeError(f"`image_size` must be a pair (height, width), got {image_size!r}.")
    for name, side in zip(("image_size[0]", "image_size[1]"), image_size, strict=True):
        check_size(name, side, least=1)
    if max(image_size) > 2**15:
        raise ValueError(f"`image_size` must be at most {2**15} a side, got {image_size}; cut the images into tiles.")


def check_batch(x: Any, y: Any) -> None:
    """A batch of inputs (N, ...), at least two-dimensional, and one target a row (N, ...)."""
    check_array("x", x)
    check_array("y", y)
    if x.ndim < 2:
        raise ValueError(
            f"`x` must have a batch axis and at least one more, (N, ...), got shape {x.shape}; add an axis with "
            "`x[:, None]`."
        )
    if y.ndim < 1 or y.shape[0] != x.shape[0]:
        raise ValueError(
            f"`y` must have one target for each of the {x.shape[0]} rows of `x`, got shape {y.shape}; both have the "
            "batch on their first axis."
        )


def check_partner(partner: Any, drawn: Mapping[str, Any], kind: Any, n: int) -> None:
    """The parts of a draw, what is drawn by name and its kind of dtype, fit each other and a batch of n rows."""
    check_array("draw.partner", partner)
    if not jnp.issubdtype(partner.dtype, jnp.integer):
        raise TypeError(f"`draw.partner` must hold integer row numbers, got dtype {partner.dtype}; cast it to int32.")
    if partner.ndim not in (1, 2) or partner.size != n:
        raise ValueError(
            f"`draw.partner` must have shape ({n},) for the {n} rows of `x`, or (g, {n} / g) with g groups, got "
            f"{partner.shape}; draw with n={n}."
        )
    shapes = {(), (n,)} if partner.ndim == 1 else {(), (n,), partner.shape[:1]}
    for name, part in drawn.items():
        check_array(f"draw.{name}", part)
        if not jnp.issubdtype(part.dtype, kind):
            raise TypeError(f"`draw.{name}` must be {kind.__name__}, got dtype {part.dtype}; take it from one draw.")
        if part.shape not in shapes:
            allowed = ", ".join(str(shape) for shape in sorted(shapes))
            raise ValueError(
                f"`draw.{name}` must hold one value a batch, a group or a row, of shape {allowed}, got shape "
                f"{part.shape} beside partners of shape {partner.shape}; take both from one draw."
            )


def check_logits(name: str, logits: Any) -> None:
    check_array(name, logits)
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(
            f"`{name}` must be floating-point, got dtype {logits.dtype}; pass the model's raw outputs, or cast with "
            f"`{name}.astype(jnp.float32)`."
        )
    if logits.ndim < 1 or logits.shape[-1] < 1:
        raise ValueError(
            f"`{name}` must have shape (..., K) with at least one class on the last axis, got shape {logits.shape}."
        )


def check_same_classes(logits_in: Any, logits_out: Any) -> None:
    if logits_in.shape[-1] != logits_out.shape[-1]:
        raise ValueError(
            f"`logits_out` must have as many classes as `logits_in`, {logits_in.shape[-1]}, got "
            f"{logits_out.shape[-1]}; both come from the same output layer."
        )


def check_targets(name: str, targets: Any, logits: Any) -> None:
    """Integer classes with the shape of the batch, or class probabilities with the shape of the logits."""
    check_array(name, targets)
    batch = logits.shape[:-1]
    if jnp.issubdtype(targets.dtype, jnp.integer):
        if targets.shape != batch:
            raise ValueError(
                f"`{name}` of dtype {targets.dtype} are classes and must have shape {batch}, the logits' without the "
                f"class axis, got {targets.shape}; class probabilities must be floating-point."
            )
    elif jnp.issubdtype(targets.dtype, jnp.floating):
        if targets.shape != logits.shape:
            raise ValueError(
                f"`{name}` of dtype {targets.dtype} are class probabilities and must have the logits' shape "
                f"{logits.shape}, got {targets.shape}; classes must be integers."
            )
    else:
        raise TypeError(
            f"`{name}` must be integer classes or floating-point class probabilities, got dtype {targets.dtype}."
        )


def check_mask(name: str, where: Any, of: str, shape: tuple[int, ...]) -> None:
    """None, or whether each row or entry of an argument counts."""
    if where is None:
        return
    check_array(name, where)
    if where.dtype != jnp.bool_:
        raise TypeError(f"`{name}` must be boolean, got dtype {where.dtype}; compare first, as in `weights > 0`.")
    if where.shape != shape:
        raise ValueError(f"`{name}` must have shape {shape}, one entry for each {of}, got {where.shape}.")


def check_two_sided(logits_in: Any, targets_in: Any, logits_out: Any, where_in: Any, where_out: Any) -> None:
    """The inputs that the losses over data and outliers have in common."""
    check_logits("logits_in", logits_in)
    check_targets("targets_in", targets_in, logits_in)
    check_mask("where_in", where_in, "row of `logits_in`", logits_in.shape[:-1])
    if logits_out is None:
        if where_out is not None:
            raise ValueError("`where_out` must be None without `logits_out`; pass the outliers' logits, or drop it.")
        return
    check_logits("logits_out", logits_out)
    check_same_classes(logits_in, logits_out)
    check_mask("where_out", where_out, "row of `logits_out`", logits_out.shape[:-1])


def known_number(value: Any) -> float | None:
    """A real number, unless it is traced or lies on another host."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    known = concrete(value)
    if known is None or known.ndim:
        return None
    is_real = jnp.issubdtype(known.dtype, jnp.floating) or jnp.issubdtype(known.dtype, jnp.integer)
    return float(known) if is_real else None


def concrete(value: Any) -> np.ndarray | None:
    """The numbers of an array, unless they are traced, lie on another host, or are none, as a key's."""
    if isinstance(value, jax.core.Tracer) or (isinstance(value, jax.Array) and not value.is_fully_addressable):
        return None
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.extended):
        return None
    return np.asarray(value) if isinstance(value, jax.Array | np.ndarray | np.generic) else None
