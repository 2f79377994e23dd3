"""Training steps of both frameworks, timed in turn in one process: `python -m examples.benchmark.throughput`.

Blocks of steps alternate, so that a load on the machine meets both. Figures are medians of blocks.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import ood_jax

from ..fashion import find_or_exit
from .data import load_task
from .experiment import backend
from .model import initial_weights
from .page import table
from .recipe import METHODS, RECIPES, batches

BLOCKS = 12
STEPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.benchmark.throughput", description=__doc__.split(":")[0])
    parser.add_argument("--fashion", type=Path, metavar="DIR", help="folder with Fashion-MNIST's four files")
    task = load_task("fashion", 0, folder=find_or_exit(parser, parser.parse_args().fashion))
    recipe = RECIPES["fashion"]
    weights = initial_weights(task.classes, recipe.stride, 0)
    margins = ood_jax.Margins(jnp.float32(-8), jnp.float32(-3))
    order = list(batches(recipe, METHODS["baseline"], 0, len(task.train.x), len(task.outliers)))[:STEPS]
    rows = []
    for loss in backend("jax").LOSSES:
        runs = {}
        for name in ("jax", "torch"):
            framework = backend(name)
            runs[name] = framework.Run(task, framework.LOSSES[loss], recipe.stride, weights, 0, margins)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(1 + BLOCKS):
            for name, run in runs.items():
                start = time.perf_counter()
                for batch in order:
                    value = run.step(batch, np.float32(0.01))
                float(value)
                seconds[name].append(time.perf_counter() - start)
        # The first block compiles.
        speed = {name: recipe.batch * STEPS / np.median(found[1:]) for name, found in seconds.items()}
        rows.append([loss, f"{speed['jax']:.0f}", f"{speed['torch']:.0f}", f"{speed['jax'] / speed['torch']:.2f}"])
    print(f"JAX on {jax.devices()[0].platform}, PyTorch on {backend('torch').DEVICE};")
    print(f"batches of {recipe.batch} images, and as many outliers where they are used")
    print("\n".join(table(["Loss", "JAX, images/s", "PyTorch, images/s", "JAX / PyTorch"], rows, left=(0,))))


if __name__ == "__main__":
    main()
