"""Drawing many λ, for α below 1 where it is hardest: rejection is frequent, and values crowd at 0 and 1."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch

import ood_jax

from .row import Contest, Row

ALPHA = 0.3


def sampling_rows(*, quick: bool) -> Iterator[Row]:
    count = 100 if quick else 100_000
    yield Row(f"symmetric_beta, {count:,}", partial(symmetric_beta, count))


def symmetric_beta(count: int) -> Contest:
    key, alpha = jax.random.key(0), jnp.float32(ALPHA)
    peer = jax.jit(lambda key, alpha: jax.random.beta(key, alpha, alpha, (count,)))
    beta = torch.distributions.Beta(torch.tensor(ALPHA), torch.tensor(ALPHA))
    rng = np.random.default_rng(0)
    return Contest(
        lambda: ood_jax.symmetric_beta(key, alpha, (count,)),
        {
            "jax.random.beta": lambda: peer(key, alpha),
            "torch.distributions": lambda: beta.sample((count,)),
            "NumPy": lambda: rng.beta(ALPHA, ALPHA, count),
        },
    )
