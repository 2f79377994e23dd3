"""The page of training trajectories, docs/trajectories.md."""

from collections.abc import Sequence

import numpy as np

from . import setting
from .runs import PROBE, PROBES
from .trajectory import APART, ROUNDINGS, Trajectory


def page(trajectories: Sequence[Trajectory]) -> str:
    """docs/trajectories.md. Everything that was measured is in its table and in the paragraph in bold before it."""
    return f"""\
# Training trajectories

One batch shows that a loss and its gradient agree. Whether two programs *train* alike shows in many steps: momentum
kept another way, a λ swapped in some draws or labels of the wrong partner add up. So each method trains the same
network in both frameworks, and the losses of all steps are compared.

```sh
python -m parity.trajectories  # writes this page and its picture
```

## What is compared

| Method | ood_jax | PyTorch, from `parity.definitions` |
| --- | --- | --- |
| mixup | `apply_mixup`, `mixup_cross_entropy` | `mixup_data`, `mixup_criterion` |
| mixup criterion | `apply_mixup`, `mixup_criterion` with optax's cross entropy | `mixup_data`, `mixup_criterion` |
| cutmix | `cutmix_box`, `apply_cutmix`, `mixup_cross_entropy` | `CutMix`, `mixup_criterion` |
| outlier exposure | `outlier_exposure_loss` | `OutlierExposureLoss` |
| energy | `energy_regularized_loss`, margin {setting.MARGIN:g} | `EnergyRegularizedLoss`, margin {setting.MARGIN:g} |

- **Network.** Two 3x3 convolutions, each with tanh and 2x2 average pooling, and a dense layer: Flax Linen on NHWC
  images, `torch.nn` on NCHW. PyTorch starts from Flax's weights, in its own layout.
- **Optimizer.** `optax.sgd` in a jitted step, and `torch.optim.SGD`: learning rate {setting.LEARNING_RATE:g}, momentum
  {setting.MOMENTUM:g}. Both keep m ← μ·m + g and step by -η·m.
- **Data.** {setting.BATCH} images of {setting.HEIGHT}x{setting.WIDTH}x{setting.CHANNELS} a step, smooth waves of
  {setting.CLASSES} classes under noise, and as many outliers, other waves under noise. They are float32 numbers, in the
  float64 runs too.
- **Draws.** Ours, from `fold_in(run_key, step)`. The definitions run as they are, their random calls answered from our
  draws (`parity.replay`).

## What roundings explain

Training magnifies roundings, so a fixed tolerance is either too narrow for late steps or blind in early ones. How much
it magnifies them is measured. Our float64 run is repeated {PROBES} times with every weight changed before each
step by a random share of it, up to 2^{np.log2(PROBE):.0f}; the largest change of the loss so far, over that
size, is the *growth*. It is at least the loss itself, which is rounded too. Roundings have the size u = 2^-24 in
float32, 2^-53 in float64, so one of each weight a step moves the loss by u · growth. A step in two frameworks makes
more of them, and together they have several times that effect; the derivation is beside `ROUNDINGS` in
`parity/trajectories/trajectory.py`. The curves agree if at every step they are at most

    {ROUNDINGS} · u · growth

apart: a few units in the last place in the first steps, more when roundings have grown. In float64 that is 2^29 times
less than in float32.

## Results

{_summary(trajectories)}

{table(trajectories)}

![The losses of both frameworks, and how far apart they are, beside what roundings explain](trajectories/curves.png)

- **Chaos** is where the float32 losses come further apart than {APART:g} of the largest loss so far, a hundred
  times float32's spacing. It looks like a fault. But in float64 the same code on the same numbers stays about 2^29
  times closer, along the same curve, as roundings would have it. A wrong formula is as wrong in float64.
- **Apart** is the largest difference, **of allowed** the largest as a share of what roundings explain at its step. A
  method agrees if that is at most 1 in both dtypes. That the shares of both are alike says that the growth is the right
  scale.
- In the picture the shaded band goes from the effect of one rounding of each weight a step to what is allowed. Gaps in
  a line are steps where the losses are equal to the last bit. The losses of mixed batches jump because each batch draws
  another λ.

## What it would notice

`tests/parity/test_trajectory_faults.py` plants faults in one side, each of which exceeds what is allowed a hundred
times within 30 steps, in both dtypes: a learning rate off by 1%, Nesterov momentum, dampening, λ for 1 - λ, labels not
mixed, CutMix's λ before it is adjusted, loss weights and a margin off by 1%, the hinge of the means for the mean of the
hinges, a kernel with its sides swapped, features flattened in another order. Two are too small for float32 and noticed
in float64 alone: a λ off by a fraction of float32's spacing, and a loss that is computed in float32 inside a float64
run.

Two limits. CutMix's adjusted λ is float32 even where images are float64; here it is a multiple of
1/{setting.HEIGHT * setting.WIDTH}, exact in both. And the hinge of the energy loss has a kink: where roundings have
grown enough to put a pair on its other side, the effect is out of proportion, in float32 long before float64. With
these data and this margin no pair comes so near, which is tested.
"""


def _pairs(trajectories: Sequence[Trajectory]) -> list[tuple[Trajectory, Trajectory]]:
    """Each method's float32 and float64 trajectory."""
    found = {(trajectory.method, trajectory.dtype): trajectory for trajectory in trajectories}
    return [(found[method, "float32"], found[method, "float64"]) for method in dict.fromkeys(m for m, _ in found)]


def _summary(trajectories: Sequence[Trajectory]) -> str:
    pairs = _pairs(trajectories)
    agreeing = sum(single.agrees and double.agrees for single, double in pairs)
    chaotic = {single.method: step for single, _ in pairs if (step := single.chaos_step()) is not None}
    first = min(chaotic, key=chaotic.__getitem__, default=None)
    onset = "" if first is None else f", first in {first}, from step {chaotic[first]} on"
    largest = max(double.largest_difference for _, double in pairs)
    return (
        f"**{agreeing} of {len(pairs)} methods agree in both dtypes over {len(pairs[0][0].ours)} steps. In float32 "
        f"{len(chaotic)} turn chaotic{onset}; in float64 the largest difference is {largest:.1e}.**"
    )


def table(trajectories: Sequence[Trajectory]) -> str:
    """A row a method, in Markdown."""
    header = (
        *("Method", "First loss", "Mean of last 50", "float32 apart", "Of allowed", "float64 apart", "Of allowed"),
        *("Chaos from step", "float64 apart by then", "Verdict"),
    )
    rule = ["---", *["---:"] * (len(header) - 2), "---"]
    rows = [_row(single, double) for single, double in _pairs(trajectories)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def _row(single: Trajectory, double: Trajectory) -> list[str]:
    step = single.chaos_step()
    disagreeing = [trajectory.dtype for trajectory in (single, double) if not trajectory.agrees]
    return [
        single.method,
        f"{single.ours[0]:.2f}",
        f"{single.ours[-50:].mean():.2f}",
        *(text for each in (single, double) for text in (f"{each.largest_difference:.1e}", f"{each.share:.2f}")),
        "none" if step is None else str(step),
        "-" if step is None else f"{double.differences[: step + 1].max():.1e}",
        f"disagrees in {' and '.join(disagreeing)}" if disagreeing else "agrees",
    ]
