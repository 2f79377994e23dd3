"""Proof that `ood_jax` computes what its PyTorch definitions compute, and `compare`, the same for a pair of your own.

`python -m parity` runs every case of `parity.cases` and prints one line each. Needs the extra `parity`:
`pip install 'ood-jax[parity]'`.
"""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "parity compares with PyTorch, which is not installed; install it with `pip install 'ood-jax[parity]'`."
    ) from error

from .agreement import Agreement
from .compare import compare

__all__ = ["Agreement", "compare"]
