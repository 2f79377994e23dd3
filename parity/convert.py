"""Arrays of one framework as another's, by way of NumPy: the same values and dtype, and no copy where none is needed.

NumPy sees JAX's and PyTorch's arrays in host memory as views. PyTorch takes any contiguous NumPy array as it is, JAX
one whose memory is aligned to 64 bytes, as PyTorch's is. The rest is copied, like what comes from another device.
"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from numpy.typing import NDArray

_INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
DTYPES = frozenset(["bool", *_INTEGERS, "bfloat16", "float16", "float32", "float64"])
"""The names of the dtypes that all three have."""


def dtype_name(array: Any) -> str:
    """The name of an array's dtype, the same for all three."""
    return str(array.dtype).removeprefix("torch.")


def to_numpy(array: Any) -> NDArray[Any]:
    """An array or tensor for NumPy, as a view where it is in host memory; bfloat16 is the dtype that JAX brings.

    Raises:
      TypeError: if it is neither, or its dtype none of `DTYPES`.
    """
    is_array = isinstance(array, np.ndarray | np.generic | jax.Array | torch.Tensor)
    if not is_array or dtype_name(array) not in DTYPES:
        what = type(array).__name__ + (f" of {dtype_name(array)}" if is_array else "")
        raise TypeError(f"expected an array of booleans, integers or real numbers, got {what}")
    if not isinstance(array, torch.Tensor):
        return np.asarray(array)
    tensor = array.detach().to_dense()
    if tensor.dtype == torch.bfloat16:  # of which PyTorch's own NumPy has no notion
        return tensor.view(torch.int16).numpy(force=True).view(jnp.bfloat16)
    return tensor.numpy(force=True)


def to_jax(array: Any) -> jax.Array:
    """The same for JAX, on its default device.

    Without jax_enable_x64 JAX has no 64-bit dtypes: integers get 32 bits, as does float64.

    Raises:
      TypeError: as `to_numpy`.
      ValueError: if an integer does not fit in the bits that JAX has for it.
    """
    if isinstance(array, jax.Array):
        return array
    host = to_numpy(array)
    ours = jax.device_put(host)
    if host.dtype.kind in "iu" and ours.dtype != host.dtype:
        lost = host[np.asarray(ours) != host]
        if lost.size:
            raise ValueError(f"{ours.dtype} cannot hold {lost[0]}; JAX has {host.dtype} only with jax_enable_x64")
    return ours


def to_torch(array: Any, *, copy: bool = True) -> torch.Tensor:
    """The same for PyTorch: a tensor stays on its device, anything else comes to the host.

    With `copy=False` the memory is shared, read-only memory too, and must not be written to.

    Raises:
      TypeError: as `to_numpy`.
    """
    tensor = array.detach() if isinstance(array, torch.Tensor) else _shared(to_numpy(array))
    return tensor.clone() if copy else tensor


def _shared(array: NDArray[Any]) -> torch.Tensor:
    if array.dtype == jnp.bfloat16:
        return _shared(array.view(np.int16)).view(torch.bfloat16)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array, order="C"))
