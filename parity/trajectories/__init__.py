"""Whole trainings side by side: ours with Flax and optax, the definitions with PyTorch's own network and optimizer.

Both start from the same weights and see the same batches and draws, so their losses differ by roundings alone. But
training can magnify roundings until, in float32, they look like a fault. So each curve is held to what roundings do
to it, which is measured: `Trajectory.allowed`.

`python -m parity.trajectories` writes docs/trajectories.md and its picture.
"""

try:
    import flax as _flax  # noqa: F401
    import matplotlib as _matplotlib  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "training trajectories need Flax and matplotlib; install them with `pip install 'ood-jax[parity]'`."
    ) from error

from .methods import METHODS
from .picture import plot
from .runs import run
from .trajectory import Trajectory

__all__ = ["METHODS", "Trajectory", "plot", "run"]
