"""Arrays from NumPy to PyTorch and back, bfloat16 included."""

import jax.numpy as jnp
import numpy as np
import torch
from numpy.typing import NDArray


def to_torch(array: NDArray[np.generic]) -> torch.Tensor:
    """A tensor of the same values and dtype; integers become int64, which PyTorch wants of class labels."""
    if array.dtype == jnp.bfloat16:
        return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)  # exact both ways
    return torch.from_numpy(np.array(array))


def to_numpy(tensor: torch.Tensor) -> NDArray[np.generic]:
    """An array of the same values; bfloat16 comes as float32."""
    tensor = tensor.detach()
    return tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
