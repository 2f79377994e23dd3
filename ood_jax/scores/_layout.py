"""Layouts of what is computed from features that may be spread over devices."""

from collections.abc import Callable

import jax
from jax.sharding import PartitionSpec

from .._sharding import left_to_compiler, spec_of


def by_example(function: Callable[..., jax.Array], features: jax.Array, *args: object) -> jax.Array:
    """`function(features, *args)`, a number an example, which lies where its example lies."""
    return left_to_compiler(function, features, *args, specs=PartitionSpec(*spec_of(features)[:-1]))


def by_unit(function: Callable[..., jax.Array], features: jax.Array, *args: object) -> jax.Array:
    """`function(features, *args)`, as many features, which lie where those lie."""
    return left_to_compiler(function, features, *args, specs=spec_of(features))


def by_row(function: Callable[..., jax.Array], features: jax.Array) -> jax.Array:
    """`function(features)`, a row an example, split as the first axis was."""
    return left_to_compiler(function, features, specs=PartitionSpec(*spec_of(features)[:-1][:1]))
