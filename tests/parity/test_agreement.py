import jax.numpy as jnp
import numpy as np
import pytest

from parity.agreement import Agreement, difference, error, ulp


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_ulp_is_the_spacing(dtype):
    values = np.array([1.0, 1.5, 2.0, 3.7, 0.1, 100.0, 4096.0], dtype)
    np.testing.assert_array_equal(ulp(values, dtype), np.spacing(values).astype(np.float64))


def test_ulp_of_bfloat16_and_of_the_smallest_numbers():
    assert ulp(1.0, jnp.bfloat16) == 2**-7
    assert ulp(0.0, np.float32) == float(np.finfo(np.float32).tiny)


def test_difference_is_elementwise_and_unsigned():
    one = np.float32(1)
    assert difference([one, 1000], [one + np.spacing(one), 1000], np.float32) == 1
    # A signed sum would cancel these two.
    assert difference([1 + 2**-22, 1 - 2**-22], [1, 1], np.float32) == 2
    assert difference([1e-3], [0.0], np.float32, scale=1.0) == pytest.approx(1e-3 / 2**-23)


def test_a_single_non_finite_side_is_infinitely_far():
    assert difference([np.nan], [1.0], np.float32) == np.inf
    assert difference([1.0], [np.inf], np.float32) == np.inf
    assert difference([np.nan, np.inf], [np.nan, np.inf], np.float32) == 0
    assert error([np.nan], [1.0], np.float32) == np.inf


def test_unlike_shapes_are_an_error():
    with pytest.raises(ValueError, match="unlike shapes"):
        difference([1.0], [[1.0]], np.float32)
    with pytest.raises(ValueError, match="unlike shapes"):
        error(1.0, [1.0], np.float32)


def test_error_is_in_units_of_the_largest_entry():
    assert error([4 + 2**-20, 1e-9], [4.0, 0.0], np.float32) == 2
    assert error([4 - 2**-20], [4.0], np.float32) == 2  # too small is as wrong as too large


@pytest.mark.parametrize(
    ("agreement", "agrees"),
    [
        (Agreement("equal", 0, 0), True),
        (Agreement("off by one", 1, 0), False),
        (Agreement("as accurate", 3, 8, error=4, source_error=2), True),
        (Agreement("less accurate", 3, 8, error=4.1, source_error=2), False),
        (Agreement("accurate, yet apart", 9, 8, error=1, source_error=10), False),
        (Agreement("source overflows", np.inf, 8, error=4, source_error=np.inf), True),
        (Agreement("source overflows and we are wrong", np.inf, 8, error=5, source_error=np.inf), False),
        (Agreement("we overflow", np.inf, 8, error=np.inf, source_error=1), False),
        (Agreement("nan", np.inf, 8, error=np.nan, source_error=1), False),
    ],
    ids=lambda value: value.name if isinstance(value, Agreement) else "",
)
def test_verdict(agreement, agrees):
    assert agreement.agrees is agrees
