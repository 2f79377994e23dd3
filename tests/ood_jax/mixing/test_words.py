import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax
from ood_jax.mixing import _words

EDGES = [0, 1, 2**16 - 1, 2**16, 2**31, 2**32 - 2, 2**32 - 1]


def words(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)


@pytest.mark.parametrize("size", [1, 2, 7, 97, 224, 32_768, 65_536])
def test_below_is_exact(size):
    drawn = np.concatenate([words(10_000), np.array(EDGES, np.uint32)])
    expected = [int(word) * size >> 32 for word in drawn]
    np.testing.assert_array_equal(jax.jit(_words.below, static_argnums=1)(drawn, size), expected)


def test_below_gives_every_number_as_many_words():
    # The words where a number begins, for all numbers: as evenly spaced as whole numbers can be.
    size = 224
    first = np.array([-(-number * 2**32 // size) for number in range(size)], np.uint32)
    np.testing.assert_array_equal(_words.below(jnp.asarray(first), size), np.arange(size))
    np.testing.assert_array_equal(_words.below(jnp.asarray(first[1:] - 1), size), np.arange(size - 1))


def test_uniform_numbers_reach_their_ends_and_no_further():
    edges = jnp.array(EDGES, jnp.uint32)
    closed, open_ = np.asarray(_words.uniform(edges)), np.asarray(_words.open_uniform(edges))
    assert (closed[0], closed[-1]) == (0, 1 - 2.0**-24)
    assert (open_[0], open_[-1]) == (2.0**-24, 1 - 2.0**-24)
    many = words(10_000)
    np.testing.assert_allclose(_words.uniform(many), many / 2.0**32, rtol=0, atol=2.0**-24)
    np.testing.assert_allclose(_words.open_uniform(many), many / 2.0**32, rtol=0, atol=2.0**-24)


def test_rows_come_in_the_order_of_their_words():
    both = np.stack([words(50) % 8, words(50, 1)])  # many of the first are equal
    np.testing.assert_array_equal(_words.permutation(jnp.asarray(both)), np.lexsort((both[1], both[0])))


def test_words_are_those_of_the_generator_each_once():
    key = jax.random.key(3)
    parts = _words.random_words(key, (2, 3), (), (0, 4), (5,))
    assert [part.shape for part in parts] == [(2, 3), (), (0, 4), (5,)]
    joined = np.concatenate([np.ravel(part) for part in parts])
    np.testing.assert_array_equal(joined, jax.random.bits(key, (12,), jnp.uint32))


@pytest.mark.parametrize(("groups", "calls"), [(None, 1), (2, 2)])
@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("geometry", [None, "paper", "timm", "kornia"])
def test_a_draw_calls_the_generator_once(geometry, per_example, groups, calls):
    # Each call is a loop that takes as long to compile as all else. With groups there is one more, for their keys.
    def draw(key):
        options = {"groups": groups, "per_example": per_example}
        if geometry is None:
            return ood_jax.draw_mixup(key, 8, **options)
        return ood_jax.draw_cutmix(key, 8, (9, 5), geometry=geometry, **options)

    jaxpr = str(jax.make_jaxpr(draw)(jax.random.key(0)))
    assert len(re.findall(r"= random_(?:bits|split|fold_in)\b", jaxpr)) == calls


@pytest.mark.parametrize("pairing", ["roll", "flip"])
def test_fixed_partners_take_no_words(pairing):
    jaxpr = str(jax.make_jaxpr(lambda key: ood_jax.draw_mixup(key, 8, pairing=pairing))(jax.random.key(0)))
    assert re.findall(r"u32\[(\d+)\] = random_bits", jaxpr) == ["2"]
    jaxpr = str(jax.make_jaxpr(lambda key: ood_jax.draw_mixup(key, 8))(jax.random.key(0)))
    assert re.findall(r"u32\[(\d+)\] = random_bits", jaxpr) == ["18"]
