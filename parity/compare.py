"""Whether a function in JAX and one in PyTorch compute the same: a team's own pair, in values and in gradients."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from numbers import Real
from typing import Any

import jax
import numpy as np
import torch
from numpy.typing import NDArray

from .agreement import Agreement, Result, compared, ulp
from .convert import DTYPES, dtype_name, to_numpy, to_torch
from .sides import Arguments, Inputs, Jax, Names, Torch, is_float

# An operation rounds by up to half an ulp, on average (root mean square) 1/√12 of one. After k in a row on both sides
# two results are √(2k/12) ulps apart, and the furthest of many elements five times that: 2√k. Kernels sum half
# precision in float32 and round only what they return, so there k is smaller. (Measured on a CPU, gradients included:
# ten dense layers come 34 ulps apart in float32 and 7 in bfloat16, six transformer blocks 21 and 6.)
ROUNDINGS = {"float64": 1024, "float32": 1024, "float16": 16, "bfloat16": 16}

# JAX has 64-bit integers only with jax_enable_x64, so these pairs are one dtype here.
SAME_INTEGERS = {("int32", "int64"), ("uint32", "uint64")}

# No seed that inputs are drawn from, for a cotangent that equals its input is what a normalisation sends to zero.
COTANGENTS = (0x0DD, 0xC07A)

Tolerance = float | Mapping[str, float]


def compare(
    jax_fn: Callable[..., Any],
    torch_fn: Callable[..., Any],
    inputs: Inputs,
    *,
    wrt: Names | None = None,
    tolerance: Tolerance | None = None,
) -> Agreement:
    """Calls both functions with the same inputs, and compares what they return and its gradients.

    **Values.** Results may be any pytree of arrays, and both sides need the same one: the same paths, shapes and dtypes
    (int32 counts as int64, which JAX has only with jax_enable_x64). Floats are compared in ulps (units in the last
    place) of their dtype at the largest magnitude in the array, because an element near zero that is a difference of
    larger numbers carries their rounding. So where a mask of -1e9 is among them, hardly anything could be wrong with
    the others; the report then says how many are smaller than the tolerance, and masks are better set to zero on both
    sides. Integers and booleans must be equal. NaN equals NaN, and the report counts them.

    **Gradients.** For a function that returns one float, its gradient. For any other, the vector-Jacobian product
    with one fixed standard normal draw as cotangent of every floating-point result. A gradient that PyTorch does not
    give, as behind `detach()`, counts as zero, and the report says so.

    **Failures.** What raises, cannot be compared, or leaves nothing to compare but NaN, is no agreement, and the report
    says what it is.

    **How they are called.** As they are given, so pass `jax.jit(f)` to compare what jit makes of it; the PyTorch
    function once, the JAX function once more for its gradients. With a float64 input JAX runs with jax_enable_x64. JAX
    reads the inputs where they are if it can (see `parity.convert`); PyTorch, which may write into them, gets copies.
    On a GPU or TPU ask JAX for the precision that PyTorch has: `jax.default_matmul_precision("highest")`.

    **Modules.** Only inputs are differentiated. Make a module's parameters an input with `torch.func.functional_call`,
    as in the example.

    Args:
      jax_fn: takes JAX arrays, returns a pytree of them.
      torch_fn: takes tensors, returns a pytree of them.
      inputs: positional arguments in a tuple or list, or keyword arguments in a mapping. Each is a pytree of arrays
        (NumPy, JAX or PyTorch; bool, integer, bfloat16, float16, float32, float64), of Python numbers, which both
        functions get as they are, and of None. Both get the same values, dtypes and structure, but JAX gets int64 as
        int32 unless jax_enable_x64 is set. PyTorch wants class labels as int64, so pass them as such.
      wrt: which inputs to differentiate, by position or name: all floating-point arrays in them. None is every input
        that has any, `()` none.
      tolerance: how many ulps floats may be apart, for all results; or for some by name, as the report names them, with
        the default for the others. The default is 64 in float64 and float32, and 8 in float16 and bfloat16: right for
        networks of a few layers. A sum that cancels needs its own, as does a gradient that is zero but for rounding,
        such as that of a bias before a normalisation: in its own ulps it is noise.

    Returns:
      An `Agreement`: true or false, with the report as its string. In a test, `agreement = compare(...)` and
      `assert agreement, str(agreement)`.

    Raises:
      TypeError: if a function is not callable, `inputs` no tuple, list or mapping, an input neither array nor number,
        or `wrt` or `tolerance` of another type.
      ValueError: if `wrt` names no floating-point input, `tolerance` is not finite, negative or for an unknown result,
        or an integer does not fit in what JAX has for its dtype.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, torch, parity
      >>> x = np.linspace(-3, 3, 7, dtype=np.float32)
      >>> print(parity.compare(jax.nn.relu, torch.relu, (x,)))
      relu and relu: agrees
          out: 0 ulp apart of 64 allowed
          d/d inputs[0]: 0 ulp apart of 64 allowed

      Equal values do not make equal gradients, here at zero:

      >>> print(parity.compare(jnp.abs, torch.abs, (x,)))
      abs and abs: DISAGREES
          out: 0 ulp apart of 64 allowed
          DISAGREES d/d inputs[0]: 9.66e+06 ulp apart of 64 allowed; most at [3]: ours -1.15214479, the source's -0

      A layer, with its parameters as an input:

      >>> source = torch.nn.Linear(7, 3)
      >>> def ours(params, x):
      ...     return params["weight"] @ x + params["bias"]
      >>> def layer(params, x):
      ...     return torch.func.functional_call(source, params, (x,))
      >>> parity.compare(ours, layer, (dict(source.named_parameters()), x))
      ours and layer: agrees
    """
    for name, function in (("jax_fn", jax_fn), ("torch_fn", torch_fn)):
        if not callable(function):
            raise TypeError(f"`{name}` must be a function, got {type(function).__name__}.")
    _check_tolerance(tolerance)
    arguments = Arguments.of(inputs)
    leaves = arguments.floating(wrt)
    with torch.enable_grad(), jax.enable_x64(True) if arguments.in_float64 else nullcontext():
        ours, source = Jax(jax_fn, arguments, leaves), Torch(torch_fn, arguments, leaves)
        results = _values(ours, source, tolerance)
        if leaves and any(result.problem for result in results):
            results.append(_failed("gradients", "not compared, as not all of the above could be"))
        elif leaves and (ours.floats or wrt is not None):
            results += _gradients(ours, source, [arguments.names[i] for i in leaves], tolerance)
    _check_names(tolerance, results)
    return Agreement(f"{_label(jax_fn)} and {_label(torch_fn)}", tuple(results))


def _values(ours: Jax, source: Torch, tolerance: Tolerance | None) -> list[Result]:
    values, failure = _both("", lambda side: side.values(), ours, source)
    if failure:
        return [_failed("out", failure)]
    mine, theirs = values
    if not _any_numbers(*mine.values(), *theirs.values()):
        return [_failed("out", "neither function returns any number")]
    return [_result(name, mine.get(name), theirs.get(name), tolerance) for name in mine | theirs]


def _gradients(ours: Jax, source: Torch, names: list[str], tolerance: Tolerance | None) -> list[Result]:
    if not ours.floats:
        return [_failed("gradients", "no result is floating-point; for values alone pass wrt=()")]
    cotangents = _cotangents({name: ours.out[name] for name in ours.floats})
    gradients, failure = _both("the gradient of ", lambda side: side.gradients(cotangents), ours, source)
    if failure:
        return [_failed("gradients", failure)]
    if not _any_numbers(*gradients[0], *gradients[1]):
        return [_failed("gradients", "neither function's hold any number")]
    results = []
    for name, mine, theirs in zip(names, *gradients, strict=True):
        if theirs is None:
            result = _result(f"d/d {name}", mine, to_torch(np.zeros(mine.shape, mine.dtype)), tolerance)
            result = result._replace(notes=(*result.notes, "the PyTorch function gives no gradient"))
        else:
            result = _result(f"d/d {name}", mine, theirs, tolerance)
        results.append(result)
    return results


def _both(what: str, call: Callable[[Any], Any], *sides: Jax | Torch) -> tuple[list[Any], str]:
    """What a call gives for each side, and what it raised instead."""
    given, failures = [], []
    for side in sides:
        try:
            given.append(call(side))
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            failures.append(f"{what}the {side.name} function raised {type(error).__name__}: {reason}")
    return given, "; ".join(failures)


def _cotangents(arrays: Mapping[str, jax.Array]) -> dict[str, NDArray[Any]]:
    if [array.shape for array in arrays.values()] == [()]:
        return {name: np.ones((), array.dtype) for name, array in arrays.items()}
    rng = np.random.default_rng(COTANGENTS)
    return {name: np.asarray(rng.standard_normal(array.shape)).astype(array.dtype) for name, array in arrays.items()}


def _result(name: str, ours: Any, source: Any, tolerance: Tolerance | None) -> Result:
    if problem := _unlike(ours, source):
        return _failed(name, problem)
    allowed = _allowed(name, dtype_name(ours), tolerance)
    ours, source = to_numpy(ours), to_numpy(source)
    scale = max(_largest(ours), _largest(source))
    result = compared(name, ours, source, ours.dtype, allowed, scale=scale)
    if result.problem is None and is_float(ours):
        return result._replace(notes=tuple(_notes(ours, source, allowed * float(ulp(scale, ours.dtype)))))
    return result


def _unlike(ours: Any, source: Any) -> str | None:
    """Why two results can not be compared."""
    sides = ((Jax, ours, Torch), (Torch, source, Jax))
    for side, result, _ in sides:
        if result is not None and not isinstance(result, side.array):
            returned = f"the {side.name} function returns a {type(result).__name__}"
            return f"{returned}, where an array is expected, or a list, tuple or dict of them"
    for _, result, other in sides:
        if result is None:
            return f"only the {other.name} function returns it"
    for side, result, _ in sides:
        if dtype_name(result) not in DTYPES:
            return f"the {side.name} function returns {dtype_name(result)}, which is not compared"
    dtypes = dtype_name(ours), dtype_name(source)
    if dtypes[0] != dtypes[1] and tuple(sorted(dtypes)) not in SAME_INTEGERS:
        return f"unlike dtypes, ours {dtypes[0]} and the source's {dtypes[1]}"
    return None


def _any_numbers(*leaves: Any) -> bool:
    """Whether there is more to compare than nothing and NaN."""
    for leaf in leaves:
        is_known = isinstance(leaf, jax.Array | torch.Tensor) and dtype_name(leaf) in DTYPES
        if not is_known or not np.isnan(to_numpy(leaf)).all():  # what is unknown will be reported as such
            return True
    return False


def _largest(array: NDArray[Any]) -> float:
    return float(np.abs(array, where=np.isfinite(array), out=np.zeros(array.shape)).max(initial=0))


def _notes(ours: NDArray[Any], source: NDArray[Any], within: float) -> Iterator[str]:
    """What makes an agreement worth less than it seems."""
    if nans := int(np.sum(np.isnan(ours) & np.isnan(source))):
        yield f"NaN on both sides in {nans} of {ours.size}"
    sizes = np.abs(source[np.isfinite(source) & (source != 0)].astype(np.float64))
    others = sizes[sizes < sizes.max(initial=0)]  # than a mask
    if others.size and (small := int(np.sum(others <= within))) > others.size / 4:
        yield f"{small} of {source.size} are smaller than what is allowed"
    if not (ours.any() or source.any()):
        yield "all zero on both sides" if ours.size else "empty"


def _failed(name: str, problem: str) -> Result:
    return Result(name, np.inf, 0, problem=problem)


def _allowed(name: str, dtype: str, tolerance: Tolerance | None) -> float:
    if dtype not in ROUNDINGS:
        return 0
    default = 2 * math.sqrt(ROUNDINGS[dtype])
    if isinstance(tolerance, Mapping):
        return float(tolerance.get(name, default))
    return default if tolerance is None else float(tolerance)


def _check_tolerance(tolerance: Tolerance | None) -> None:
    given = tolerance if isinstance(tolerance, Mapping) else {} if tolerance is None else {None: tolerance}
    for name, ulps in given.items():
        where = "`tolerance`" if name is None else f"`tolerance[{name!r}]`"
        if not isinstance(ulps, Real) or isinstance(ulps, bool):
            raise TypeError(f"{where} must be a number of ulps, got {type(ulps).__name__}.")
        if not 0 <= ulps < math.inf:
            raise ValueError(f"{where} must be finite and at least 0 ulps, got {ulps}; 0 asks for equality.")


def _check_names(tolerance: Tolerance | None, results: list[Result]) -> None:
    names = [result.name for result in results]
    complete = not any(result.problem for result in results)
    if isinstance(tolerance, Mapping) and complete and (unknown := [name for name in tolerance if name not in names]):
        raise ValueError(f"`tolerance` must name results, of which there are {names}, got {unknown[0]!r}.")


def _label(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)
