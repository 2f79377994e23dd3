"""Every metric eager and under jit, vmap, scan and shard_map, on sharded arrays, with the same result."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ood_jax import metrics

RNG = np.random.default_rng(0)
COPIES, N = 4, 24
S_IN, S_OUT = (np.round(RNG.normal(shift, 1, (COPIES, N)) * 4) / 4 for shift in (0, 1))
S_IN, S_OUT = jnp.asarray(S_IN, jnp.float32), jnp.asarray(S_OUT, jnp.float32)
WHERE = jnp.asarray(RNG.random((COPIES, N)) < 0.7)
P, LABELS = (
    jnp.asarray(RNG.dirichlet([0.5] * 3, (COPIES, N)), jnp.float32),
    jnp.asarray(RNG.integers(0, 3, (COPIES, N))),
)
RATE = jnp.array([0.95, 0.5, 0.75, 0.9])
ARGUMENTS = S_IN, S_OUT, WHERE, P, LABELS, RATE


def everything(s_in, s_out, where, p, labels, rate):
    """All public functions at once: one program for each transform."""
    histogram = metrics.score_histogram(s_in, s_out, low=-1 - rate, high=1 + rate, bins=8, where_in=where)
    return {
        "auroc": metrics.auroc(s_in, s_out, where_in=where),
        "aupr": metrics.aupr(s_in, s_out, where_out=where),
        "trapezoid": metrics.aupr(s_in, s_out, positive="id", method="trapezoid"),
        "fpr": [
            metrics.fpr_at_tpr(s_in, s_out, tpr=rate, method=method, where_in=where)
            for method in ("first", "nearest", "interp")
        ],
        "error": metrics.detection_error(s_in, s_out),
        "all": metrics.ood_metrics(s_in, s_out, where_in=where),
        "ccr": metrics.ccr_at_fpr(s_in, where, s_out, fpr=rate),
        "oscr": metrics.oscr(s_in, where, s_out),
        "ece": metrics.expected_calibration_error(p, labels, bins=5, where=where),
        "adaptive": metrics.adaptive_expected_calibration_error(p, labels, bins=5, where=where),
        "brier": metrics.brier_score(p, labels),
        "histogram": histogram,
        "binned": metrics.histogram_metrics(metrics.merge_histograms(histogram, histogram)),
    }


TRACED = []


@jax.jit
def jitted(*arguments):
    TRACED.append(1)
    return everything(*arguments)


def expected():
    """Copy by copy, which the other tests of this folder compare with what the metrics are."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *(jitted(*(a[i] for a in ARGUMENTS)) for i in range(COPIES)))


def assert_same(result, expected):
    assert jax.tree.structure(result) == jax.tree.structure(expected)
    for (path, a), b in zip(jax.tree.leaves_with_path(result), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        # The bounds contain roundings of 2e-6 and shrink no further.
        np.testing.assert_allclose(a, b, rtol=0, atol=0 if a.dtype == jnp.int32 else 5e-7, err_msg=str(path))


def test_every_function_is_here():
    source = inspect.getsource(everything)
    functions = [name for name, value in vars(metrics).items() if callable(value) and not isinstance(value, type)]
    assert len(functions) == 13
    assert [name for name in functions if f"metrics.{name}(" not in source] == []


def test_eager():
    # Without jit each operation is compiled by itself, so this is only one, with the operations that most share.
    s_in, s_out, where = (np.asarray(argument[1]) for argument in (S_IN, S_OUT, WHERE))
    with jax.disable_jit():
        result = metrics.ood_metrics(s_in, s_out, where_in=where)
    assert_same(result, jax.tree.map(lambda leaf: leaf[1], expected()["all"]))


def test_changing_a_number_never_compiles_again():
    expected()
    assert len(TRACED) == 1
    for function, call in (
        (metrics.fpr_at_tpr, lambda number: metrics.fpr_at_tpr(S_IN[0], S_OUT[0], tpr=number)),
        (metrics.ccr_at_fpr, lambda number: metrics.ccr_at_fpr(S_IN[0], WHERE[0], S_OUT[0], fpr=number)),
        (metrics.score_histogram, lambda number: metrics.score_histogram(S_IN[0], S_OUT[0], low=-number, high=number)),
    ):
        call(0.3)
        compiled = function._cache_size()
        call(0.6)
        assert function._cache_size() == compiled


def test_vmap():
    assert_same(jax.jit(jax.vmap(everything))(*ARGUMENTS), expected())


def test_scan_within_shard_map():
    mesh = jax.make_mesh((2,), ("device",), axis_types=(AxisType.Auto,))

    def body(*shards):
        return jax.lax.scan(lambda carry, step: (carry, everything(*step)), 0, shards)[1]

    spec = PartitionSpec("device")
    mapped = jax.shard_map(body, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=True)
    assert_same(jax.jit(mapped)(*ARGUMENTS), expected())


def test_scores_on_explicit_axes():
    # The kind of axes that asks most of a function: it has to say how its results are laid out.
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))

    @jax.jit
    def some(s_in, s_out, where, p, labels, rate):
        return {
            "all": metrics.ood_metrics(s_in, s_out, where_in=where),
            "ccr": metrics.ccr_at_fpr(s_in, where, s_out, fpr=rate),
            "adaptive": metrics.adaptive_expected_calibration_error(p, labels, bins=5, where=where),
            "histogram": metrics.score_histogram(s_in, s_out, low=-1 - rate, high=1 + rate, bins=8, where_in=where),
        }

    first = [argument[2] for argument in ARGUMENTS]
    with jax.set_mesh(mesh):
        placed = [jax.device_put(a, NamedSharding(mesh, PartitionSpec(*("data",) * bool(a.ndim)))) for a in first]
        result = some(*placed)
    assert_same(jax.device_get(result), {name: jax.tree.map(lambda leaf: leaf[2], expected()[name]) for name in result})


def test_scores_on_automatic_axes():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    s_in, s_out, where = (
        jax.device_put(a[2], NamedSharding(mesh, PartitionSpec("data"))) for a in (S_IN, S_OUT, WHERE)
    )
    result = metrics.ood_metrics(s_in, s_out, where_in=where)
    assert_same(jax.device_get(result), jax.tree.map(lambda leaf: leaf[2], expected()["all"]))


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_within_shard_map_over_some_of_the_axes(kind):
    mesh = jax.make_mesh((2, 4), ("data", "other"), axis_types=(kind,) * 2)

    def some(s_in, s_out, p, labels):
        s_in, s_out, p, labels = s_in[0], s_out[0], p[0], labels[0]
        result = {
            "ece": metrics.expected_calibration_error(p, labels, bins=5),
            "histogram": metrics.score_histogram(s_in, s_out, low=-1, high=1, bins=8),
        }
        return jax.tree.map(lambda leaf: leaf[None], result)

    arguments = [argument[:2] for argument in (S_IN, S_OUT, P, LABELS)]
    rows = PartitionSpec("data")
    mapped = jax.shard_map(some, mesh=mesh, in_specs=rows, out_specs=rows, axis_names={"data"})
    expected = jax.tree.map(
        lambda *leaves: jnp.concatenate(leaves),
        *(some(*(argument[i : i + 1] for argument in arguments)) for i in range(2)),
    )
    assert_same(jax.device_get(jax.jit(mapped)(*arguments)), expected)
