"""How time grows with a size: all sizes of a sweep take turns, and a power of the size is fitted."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import ood_jax
from parity import definitions

from .loss_rows import LOSSES, contest
from .mixing_rows import Images, ours
from .row import DEFINITION
from .timing import Run

# Sizes up to what fits a cache, so that no exponent is that of page faults.
ROWS, SIDES, SIDE = (16, 32, 64, 128), (32, 64, 128, 224), 64
LOSS_ROWS, CLASSES = (64, 128, 256, 512, 1024), (10, 100, 1_000, 10_000)
DEVICES = (1, 2, 4, 8)


class Sweep(NamedTuple):
    """A size that is swept.

    Attributes:
      name: of what grows.
      size: what is swept.
      sizes: its values.
      build: who runs at a value: ours, and where there is one the definition.
    """

    name: str
    size: str
    sizes: tuple[int, ...]
    build: Callable[[int], Mapping[str, Run]]


def sweeps(*, quick: bool) -> Iterator[Sweep]:
    """Of which the quick ones have two sizes each."""
    for name in ("mixup", "cutmix"):
        yield Sweep(name, "N", _some(ROWS, quick), partial(_mixing, name, side=SIDE))
        yield Sweep(name, "side", _some(SIDES, quick), partial(_mixing, name, ROWS[0]))
    for name in ("outlier_exposure kl", "energy_regularized pairwise"):
        yield Sweep(name, "N", _some(LOSS_ROWS, quick), partial(_loss, name, classes=1_000))
        yield Sweep(name, "K", _some(CLASSES, quick), partial(_loss, name, LOSS_ROWS[2]))


def device_sweeps(*, quick: bool) -> Iterator[Sweep]:
    """One batch over more and more devices of the host: no work is added, and what grows is what sharding costs."""
    n = 16 if quick else 128
    for name in ("mixup", "cutmix"):
        yield Sweep(f"{name} in as many groups", "devices", DEVICES, partial(_sharded_mixing, name, n))
    for name in ("outlier_exposure kl", "energy_regularized pairwise"):
        yield Sweep(f"{name}, sharded", "devices", DEVICES, partial(_sharded_loss, name, n))


def _some(sizes: tuple[int, ...], quick: bool) -> tuple[int, ...]:
    return sizes[:2] if quick else sizes


def _mixing(name: str, n: int, side: int) -> dict[str, Run]:
    images = Images.draw(n, side, "float32")
    theirs = definitions.mixup_data if name == "mixup" else definitions.CutMix()
    return {
        "ours": ours(getattr(ood_jax, name), images),
        DEFINITION: partial(theirs, images.nchw, images.labels_torch),
    }


def _loss(name: str, n: int, classes: int) -> dict[str, Run]:
    both = contest(LOSSES[name], n, classes, "float32", compiles=False)
    definition = both.peers[DEFINITION]
    assert callable(definition), "the definitions are always there"
    return {"ours": both.ours, DEFINITION: definition}


def _over(devices: int) -> NamedSharding:
    mesh = Mesh(jax.devices()[:devices], "data")
    return NamedSharding(mesh, PartitionSpec("data"))


def _sharded_mixing(name: str, n: int, devices: int) -> dict[str, Run]:
    rng = np.random.default_rng(0)
    x, y = rng.random((n, SIDE, SIDE, 3), np.float32), np.arange(n)
    x, y = (jax.device_put(array, _over(devices)) for array in (x, y))
    function = partial(getattr(ood_jax, name), groups=devices)
    return {"ours": partial(function, jax.random.key(0), x, y)}


def _sharded_loss(name: str, n: int, devices: int) -> dict[str, Run]:
    rng = np.random.default_rng(0)
    inside, outside = rng.standard_normal((2, n, 1_000), np.float32)
    arguments: Any = (jnp.asarray(inside), jnp.asarray(outside), jnp.arange(n))
    step = jax.jit(jax.value_and_grad(LOSSES[name].ours, argnums=(0, 1)))
    return {"ours": partial(step, *(jax.device_put(array, _over(devices)) for array in arguments))}
