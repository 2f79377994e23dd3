import jax.numpy as jnp
import numpy as np
import pytest

from parity.agreement import Agreement, Result, compared, differences, error, ulp


def difference(*sides, **options):
    return differences(*sides, **options).max()


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


def test_an_error_can_be_measured_at_a_scale():
    assert error([1e-3], [0.0], np.float32, scale=1.0) == pytest.approx(1e-3 / 2**-23)
    assert error([4 + 2**-20], [4.0], np.float32, scale=1.0) == 2  # the truth is larger


def test_integers_differ_by_whole_numbers_however_large():
    assert difference([3, 7], [3, 9], np.int32) == 2
    assert difference([2**53 + 1], [2**53], np.int64) == 1
    assert difference([2**63 + 1], np.array([2**63], np.uint64), np.uint64) == 1
    assert difference([True, False], [True, True], bool) == 1
    assert difference([2**24 + 1], [2**24 + 1], np.int32) == 0


@pytest.mark.parametrize(
    ("result", "agrees"),
    [
        (Result("equal", 0, 0), True),
        (Result("off by one", 1, 0), False),
        (Result("as accurate", 3, 8, error=4, source_error=2), True),
        (Result("less accurate", 3, 8, error=4.1, source_error=2), False),
        (Result("accurate, yet apart", 9, 8, error=1, source_error=10), False),
        (Result("source overflows", np.inf, 8, error=4, source_error=np.inf), True),
        (Result("source overflows and we are wrong", np.inf, 8, error=5, source_error=np.inf), False),
        (Result("we overflow", np.inf, 8, error=np.inf, source_error=1), False),
        (Result("nan", np.inf, 8, error=np.nan, source_error=1), False),
        (Result("equal, but for a problem", 0, 8, error=0, source_error=0, problem="unlike"), False),
        (Result("equal, with a note", 0, 8, notes=("empty",)), True),
    ],
    ids=lambda value: value.name if isinstance(value, Result) else "",
)
def test_verdict(result, agrees):
    assert result.agrees is agrees


def test_what_is_compared_is_the_furthest_of_all_elements():
    ours, source = np.array([[1, 2], [3, 4]], np.float32), np.array([[1, 2], [3, 4]], np.float32)
    ours[1, 0] += 2**-20
    ours[0, 1] -= 2**-21
    result = compared("x", ours, source, np.float32, 4)
    assert (result.difference, result.worst.at) == (4, (1, 0))
    assert (result.worst.ours, result.worst.source) == (3 + 2**-20, 3)
    assert result.agrees
    assert not compared("x", ours, source, np.float32, 3.9).agrees
    assert differences(ours, source, np.float32).tolist() == [[0, 2], [4, 0]]


def test_a_scale_measures_small_numbers_as_what_they_are_the_difference_of():
    assert compared("x", [1e-9], [0.0], np.float32, 1, scale=1.0).agrees
    assert not compared("x", [1e-9], [0.0], np.float32, 1).agrees


def test_unlike_shapes_are_a_problem_and_never_broadcast():
    result = compared("x", np.ones(3), np.ones((1, 3)), np.float32, np.inf)
    assert not result.agrees
    assert str(result) == "x: unlike shapes, ours (3,) and the source's (1, 3)"


def test_the_truth_is_asked_of_both():
    result = compared("x", [4 + 2**-20], [4 + 2**-21], np.float32, 8, truth=[4.0])
    assert (result.error, result.source_error) == (2, 1)
    assert "from the truth ours 2, the source 1" in str(result)


def test_a_line_says_where_and_what():
    line = str(compared("x", np.float32([0.5, 1.5]), np.float32([0.5, 2]), np.float32, 8))
    assert line == "x: 2.1e+06 ulp apart of 8 allowed; most at [1]: ours 1.5, the source's 2"
    assert "most at the value: ours 1" in str(compared("x", 1.0, 2.0, np.float32, 8))
    assert str(compared("x", [1.0], [1.0], np.float32, 8)) == "x: 0 ulp apart of 8 allowed"
    assert "ours nan, the source's 1" in str(compared("x", [np.nan], [1.0], np.float32, 8))


def test_a_line_has_digits_enough_to_see_the_difference():
    for one, other, dtype in ((1.0, 1 + 2**-52, np.float64), (2**62, 2**62 + 1, np.int64)):
        line = str(compared("x", np.array([one]), np.array([other]), dtype, 0))
        ours, source = line.partition("ours ")[2].split(", the source's ")
        assert type(one)(ours) == one
        assert type(other)(source) == other


def test_an_agreement_is_of_all_and_of_something():
    good, bad, worse = Result("good", 0, 0), Result("bad", 2, 1), Result("worse", 3, 1)
    assert Agreement("case", (good, good))
    assert not Agreement("case", (good, bad))
    assert not Agreement("case", ())
    assert Agreement("case", (good, bad, worse)).disagreeing == (bad, worse)


def test_an_agreement_prints_a_line_a_result_and_its_repr_is_one():
    good, bad, worse = Result("good", 0, 0), Result("bad", 2, 1), Result("worse", 3, 1)
    agreement = Agreement("case", (good, bad, worse))
    assert str(agreement).splitlines() == [
        "case: DISAGREES",
        "    good: 0 ulp apart of 0 allowed",
        "    DISAGREES bad: 2 ulp apart of 1 allowed",
        "    DISAGREES worse: 3 ulp apart of 1 allowed",
    ]
    assert repr(agreement) == "case: DISAGREES bad: 2 ulp apart of 1 allowed; and 1 more"
    assert repr(Agreement("case", (good,))) == "case: agrees"
    assert repr(Agreement("case", ())) == "case: DISAGREES nothing was compared"
