"""Whole trainings side by side: ours with Flax and optax, the definitions with PyTorch's own network and optimizer.

Both start from the same weights and see the same batches and draws, so their losses differ by roundings alone. But
training can magnify roundings until, in float32, they look like a fault. So each curve is held to what roundings do
to it, which is measured: `Trajectory.allowed`.

`python -m parity.trajectories` writes docs/trajectories.md and its picture.
"""

import argparse
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from numpy.typing import NDArray
from torch.nn import functional

import ood_jax

from . import definitions
from .convert import to_torch
from .replay import cutmix_calls, mixup_calls, replaying

try:
    from flax import linen

    from .trajectory_plot import page, plot
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "training trajectories need Flax and matplotlib; install them with `pip install 'ood-jax[parity]'`."
    ) from error

Array = NDArray[Any]
Curve = NDArray[np.float64]

STEPS, BATCH, CLASSES, SEED = 200, 32, 10, 0
# The sides differ, so that swapped ones show. Their product is a power of two, so that CutMix's adjusted λ, a number of
# pixels over it, is exact in float32: ours has that dtype even where the images are float64, the definition's has not.
HEIGHT, WIDTH, CHANNELS, WIDTHS = 8, 16, 3, (8, 16)
# Fast enough that roundings grow, and not so fast that nothing is learned.
LEARNING_RATE, MOMENTUM = 0.328125, 0.9375
# The hinge of the energy loss is the one kink in all this, and a rounding that pushes a pair over it has an effect out
# of all proportion. With this margin some pairs are past it and some not, and none is so near.
ALPHA, LAMBDA_OE, LAMBDA_ENERGY, MARGIN = 1.0, 0.5, 0.1, 3.0

# A probe's change of the weights is far above the roundings of float64, yet so small that its effect is in proportion.
PROBE, PROBES = 2.0**-38, 3
# How many times the effect of one rounding of each weight a step is allowed. A step rounds more than its weights: the
# outputs, their derivatives and the gradients of three layers, and the update twice, in both frameworks, is about 20
# roundings for that one, and being independent they have √20 ≈ 4 times its effect. Sums of hundreds of terms round
# several times, which makes it 3 times as much, and chance, of which a few probes see little, 2 to 3 times more.
ROUNDINGS = 32

APART = 1e-5
"""Which share of the largest loss so far is chaos in float32: a hundred times its spacing."""


class Trajectory(NamedTuple):
    """One method's losses at each step, in both frameworks.

    Attributes:
      method: one of `METHODS`.
      dtype: "float32" or "float64", of everything computed.
      ours: the losses (steps,) with ood_jax, Flax and optax.
      source: the losses (steps,) with the PyTorch definitions.
      growth: what a relative change of each weight in each step has changed the loss by, over the size of that change;
        the largest up to that step.
    """

    method: str
    dtype: str
    ours: Curve
    source: Curve
    growth: Curve

    @property
    def differences(self) -> Curve:
        """How far apart the losses are at each step."""
        return np.abs(self.ours - self.source)

    @property
    def largest_difference(self) -> float:
        """The largest of them."""
        return float(self.differences.max())

    @property
    def response(self) -> Curve:
        """What one rounding of each weight a step does to the loss, in this dtype."""
        return float(jnp.finfo(self.dtype).eps) / 2 * self.growth

    @property
    def allowed(self) -> Curve:
        """How far apart roundings alone may put the losses at each step."""
        return ROUNDINGS * self.response

    @property
    def comparable(self) -> bool:
        """Whether there are curves, of one length and finite."""
        curves = (self.ours, self.source, self.growth)
        one_length = self.ours.size > 0 and len({curve.shape for curve in curves}) == 1
        return one_length and all(np.isfinite(curve).all() for curve in curves)

    @property
    def share(self) -> float:
        """The largest difference as a share of what is allowed at its step; infinite if nothing can be compared."""
        return float((self.differences / self.allowed).max()) if self.comparable else np.inf

    @property
    def agrees(self) -> bool:
        """Whether roundings explain every difference."""
        return self.share <= 1

    def chaos_step(self, relative: float = APART) -> int | None:
        """The first step where the losses are further apart than this share of the largest so far, or None."""
        apart = np.flatnonzero(self.differences > relative * np.maximum.accumulate(np.abs(self.source)))
        return int(apart[0]) if apart.size else None

    def __str__(self) -> str:
        """The verdict and its figures."""
        if not self.comparable:
            return f"{self.method} {self.dtype}: DISAGREES, losses that are not finite or not as many in both"
        verdict = "agrees" if self.agrees else "DISAGREES"
        apart = f"at most {self.largest_difference:.1e} apart"
        return f"{self.method} {self.dtype}: {verdict}, {apart}, {self.share:.2g} of what roundings explain"


def run(method: str, dtype: str = "float32", *, steps: int = STEPS) -> Trajectory:
    """Trains with both frameworks, and measures what roundings would do."""
    ours, source = train_ours(method, dtype, steps=steps), train_source(method, dtype, steps=steps)
    return Trajectory(method, dtype, ours, source, growth(method, steps=steps))


@functools.cache
def growth(method: str, *, steps: int = STEPS) -> Curve:
    """The growth of roundings, from perturbed float64 runs: the largest so far, and at least that of the loss's own."""
    plain = train_ours(method, "float64", steps=steps)
    probes = [train_ours(method, "float64", steps=steps, perturbation=PROBE, seed=seed) for seed in range(PROBES)]
    changes = np.abs(np.stack(probes) - plain).max(axis=0) / PROBE
    grown: Curve = np.maximum.accumulate(np.maximum(changes, np.abs(plain)))
    grown.setflags(write=False)  # the cache hands out the array itself
    return grown


# The data: every batch of a run, with what is drawn for it.


class Batch(NamedTuple):
    """One step's data and draw: mixup uses λ and the partners, CutMix the centre (row, column) too."""

    images: Any
    labels: Any
    outliers: Any
    lam: Any
    partner: Any
    center: Any


@functools.cache
def batches(steps: int) -> tuple[Batch, ...]:
    """The float32 batches of a run; a longer one begins like a shorter one."""
    templates = _textures(np.random.default_rng(SEED), CLASSES)
    with jax.enable_x64(False):  # the same draws whatever the caller's
        draws = jax.tree.map(np.asarray, jax.vmap(_draw)(jnp.arange(steps)))
    return tuple(_batch(step, templates, *(leaf[step] for leaf in draws)) for step in range(steps))


def _draw(step: jax.Array) -> tuple[jax.Array, ...]:
    key, key_row, key_column = jax.random.split(jax.random.fold_in(jax.random.key(SEED), step), 3)
    lam, partner = ood_jax.draw_mixup(key, BATCH, alpha=ALPHA)
    row, column = jax.random.randint(key_row, (), 0, HEIGHT), jax.random.randint(key_column, (), 0, WIDTH)
    return lam, partner, row, column


def _batch(step: int, templates: Array, lam: Array, partner: Array, row: Array, column: Array) -> Batch:
    rng = np.random.default_rng([SEED, step])
    labels = rng.integers(0, CLASSES, BATCH).astype(np.int32)
    clean = np.stack([templates[labels], _textures(rng, BATCH)])
    images, outliers = (clean + rng.standard_normal(clean.shape)).astype(np.float32)
    return Batch(images, labels, outliers, lam, partner, (row, column))


def _textures(rng: np.random.Generator, n: int) -> Array:
    """Random smooth images: waves of at most one period, weaker than a pixel's noise."""
    rows, columns = (np.cos(np.pi * np.arange(3) * (np.arange(side)[:, None] + 0.5) / side) for side in (HEIGHT, WIDTH))
    return np.einsum("yi,xj,nijc->nyxc", rows, columns, rng.standard_normal((n, 3, 3, CHANNELS))) / 6


# Ours.


class Network(linen.Module):
    """From images (N, H, W, C) to logits (N, K). Smooth, for a rounding that crosses a kink is no longer small."""

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The logits."""
        for number, width in enumerate(WIDTHS, 1):
            x = jnp.tanh(linen.Conv(width, (3, 3), name=f"conv{number}")(x))
            x = linen.avg_pool(x, (2, 2), (2, 2))
        return linen.Dense(CLASSES, name="output")(x.reshape(len(x), -1))


def initial_weights() -> dict[str, dict[str, Array]]:
    """Those that every run starts from, float32, in Flax's layout."""
    with jax.enable_x64(False):
        params = Network().init(jax.random.key(SEED), jnp.zeros((1, HEIGHT, WIDTH, CHANNELS)))["params"]
        return cast(dict[str, dict[str, Array]], jax.tree.map(np.asarray, params))


# Both keep m ← μ·m + g, which starts as g, and step by -η·m; PyTorch's dampening is 0 unless asked for.
_OPTIMIZER = optax.sgd(LEARNING_RATE, MOMENTUM)


@functools.cache
def _step(method: str) -> Callable[..., Any]:
    @jax.jit
    def step(params: Any, state: Any, batch: Batch) -> tuple[Any, Any, jax.Array]:
        def loss_of(params: Any) -> jax.Array:
            return LOSSES[method].ours(lambda x: cast(jax.Array, Network().apply({"params": params}, x)), batch)

        loss, gradients = jax.value_and_grad(loss_of)(params)
        updates, state = _OPTIMIZER.update(gradients, state)
        return optax.apply_updates(params, updates), state, loss

    return cast(Callable[..., Any], step)


def train_ours(method: str, dtype: str, *, steps: int = STEPS, perturbation: float = 0, seed: int = 0) -> Curve:
    """Our losses; with a perturbation, of a run whose weights change by up to that share of them before each step."""
    rng = np.random.default_rng([SEED, seed])
    step, losses = _step(method), []
    with jax.enable_x64(dtype == "float64"):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), initial_weights())
        state = _OPTIMIZER.init(params)
        for batch in batches(steps):
            if perturbation:
                params = jax.tree.map(lambda leaf: leaf * (1 + perturbation * rng.uniform(-1, 1, leaf.shape)), params)
            cast_batch = batch._replace(images=batch.images.astype(dtype), outliers=batch.outliers.astype(dtype))
            params, state, loss = step(params, state, cast_batch)
            losses.append(loss)
        return np.array([loss.item() for loss in losses], np.float64)


# The source's.


class SourceNetwork(torch.nn.Module):
    """The same network, from images (N, C, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(CHANNELS, WIDTHS[0], 3, padding=1)
        self.conv2 = torch.nn.Conv2d(WIDTHS[0], WIDTHS[1], 3, padding=1)
        self.output = torch.nn.Linear(WIDTHS[1] * HEIGHT // 4 * WIDTH // 4, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits."""
        for conv in (self.conv1, self.conv2):
            x = functional.avg_pool2d(torch.tanh(conv(x)), 2)
        return cast(torch.Tensor, self.output(x.flatten(1)))


def source_weights(params: dict[str, dict[str, Array]]) -> dict[str, torch.Tensor]:
    """Flax's parameters in PyTorch's layout."""
    state: dict[str, torch.Tensor] = {}
    for name, layer in params.items():
        kernel = layer["kernel"]
        if kernel.ndim == 2:
            # The features that a dense layer sees are a map (h, w, c) flattened, in PyTorch (c, h, w). It is a
            # convolution as large as the map, and so are its weights.
            weight = _as_oihw(kernel.reshape(HEIGHT // 4, WIDTH // 4, WIDTHS[-1], CLASSES)).reshape(CLASSES, -1)
        else:
            weight = _as_oihw(kernel)
        state |= {f"{name}.weight": to_torch(weight), f"{name}.bias": to_torch(layer["bias"])}
    return state


def _as_oihw(kernel: Array) -> Array:
    return kernel.transpose(3, 2, 0, 1)


def source_optimizer(network: torch.nn.Module) -> torch.optim.Optimizer:
    """PyTorch's SGD, as ours."""
    return torch.optim.SGD(network.parameters(), LEARNING_RATE, MOMENTUM)


def train_source(method: str, dtype: str, *, steps: int = STEPS) -> Curve:
    """The definitions' losses."""
    network = SourceNetwork()
    network.load_state_dict(source_weights(initial_weights()))
    network.to(getattr(torch, dtype))
    optimizer, losses = source_optimizer(network), []
    with _one_thread():
        for batch in batches(steps):
            optimizer.zero_grad()
            loss = LOSSES[method].source(network, _source_batch(batch, dtype))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return np.array(losses, np.float64)


def _source_batch(batch: Batch, dtype: str) -> Batch:
    images, outliers = (
        to_torch(images.transpose(0, 3, 1, 2).astype(dtype)) for images in (batch.images, batch.outliers)
    )
    row, column = batch.center
    center = (int(row), int(column))
    return Batch(images, to_torch(batch.labels).long(), outliers, float(batch.lam), batch.partner, center)


@contextmanager
def _one_thread() -> Iterator[None]:
    # So small a network loses more by sharing than it gains, and how sums are split would change their roundings.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# The methods.


class Losses(NamedTuple):
    """A method's loss of a network on a batch, in both frameworks."""

    ours: Callable[[Callable[[jax.Array], jax.Array], Batch], jax.Array]
    source: Callable[[Callable[[torch.Tensor], torch.Tensor], Batch], torch.Tensor]


def _mean_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _mixup(batch: Batch) -> ood_jax.Mixed:
    return ood_jax.apply_mixup(ood_jax.MixupDraw(batch.lam, batch.partner), batch.images, batch.labels)


def _cutmix(batch: Batch) -> ood_jax.Mixed:
    box = ood_jax.cutmix_box(batch.lam, batch.center, (HEIGHT, WIDTH))
    return ood_jax.apply_cutmix(ood_jax.CutMixDraw(box, batch.partner), batch.images, batch.labels)


def source_mixup(batch: Batch) -> Any:
    """The definition's mixup of a batch for PyTorch, on its draw."""
    with replaying(mixup_calls(batch.lam, batch.partner, alpha=ALPHA)):
        return definitions.mixup_data(batch.images, batch.labels, ALPHA)


def source_cutmix(batch: Batch) -> Any:
    """The definition's CutMix of a batch for PyTorch, on its draw."""
    with replaying(cutmix_calls(batch.lam, batch.partner, batch.center, (HEIGHT, WIDTH), alpha=ALPHA)):
        return definitions.CutMix(ALPHA)(batch.images, batch.labels)


def _on_mixed(mix: Callable[[Batch], Any], criterion: Callable[..., Any]) -> Callable[..., Any]:
    def loss(logits_of: Callable[[Any], Any], batch: Batch) -> Any:
        x, y_a, y_b, lam = mix(batch)
        return criterion(logits_of(x), y_a, y_b, lam)

    return loss


def _with_outliers(criterion: Callable[..., Any]) -> Callable[..., Any]:
    def loss(logits_of: Callable[[Any], Any], batch: Batch) -> Any:
        return criterion(logits_of(batch.images), batch.labels, logits_of(batch.outliers))

    return loss


_criterion = functools.partial(ood_jax.mixup_criterion, _mean_cross_entropy)
_source_criterion = functools.partial(definitions.mixup_criterion, functional.cross_entropy)

LOSSES = {
    "mixup": Losses(_on_mixed(_mixup, ood_jax.mixup_cross_entropy), _on_mixed(source_mixup, _source_criterion)),
    "mixup criterion": Losses(_on_mixed(_mixup, _criterion), _on_mixed(source_mixup, _source_criterion)),
    "cutmix": Losses(_on_mixed(_cutmix, ood_jax.mixup_cross_entropy), _on_mixed(source_cutmix, _source_criterion)),
    "outlier exposure": Losses(
        _with_outliers(functools.partial(ood_jax.outlier_exposure_loss, lambda_oe=LAMBDA_OE)),
        _with_outliers(definitions.OutlierExposureLoss(LAMBDA_OE)),
    ),
    "energy": Losses(
        _with_outliers(functools.partial(ood_jax.energy_regularized_loss, lambda_energy=LAMBDA_ENERGY, margin=MARGIN)),
        _with_outliers(definitions.EnergyRegularizedLoss(LAMBDA_ENERGY, MARGIN)),
    ),
}
METHODS = tuple(LOSSES)
"""The methods compared."""


def write(folder: Path, trajectories: Sequence[Trajectory]) -> None:
    """Writes the page and its picture."""
    (folder / "trajectories").mkdir(parents=True, exist_ok=True)
    (folder / "trajectories.md").write_text(page(trajectories), encoding="utf-8")
    plot(trajectories).savefig(folder / "trajectories" / "curves.png", dpi=130)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains with every method in both dtypes, and reports; returns 1 if any disagrees."""
    parser = argparse.ArgumentParser(prog="python -m parity.trajectories", description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs"), help="where to write; default: docs")
    folder = parser.parse_args(arguments).folder
    trajectories = []
    for method in METHODS:
        for dtype in ("float32", "float64"):
            trajectories.append(run(method, dtype))
            print(trajectories[-1], flush=True)
    write(folder, trajectories)
    return 0 if all(trajectory.agrees for trajectory in trajectories) else 1


if __name__ == "__main__":
    sys.exit(main())
