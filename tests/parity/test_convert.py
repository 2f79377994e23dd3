import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from parity.convert import DTYPES, to_jax, to_numpy, to_torch

VALUES = [0, 1, 2, 3, 1, 0]


def pointer(array):
    if isinstance(array, torch.Tensor):
        return array.data_ptr()
    return array.unsafe_buffer_pointer() if isinstance(array, jax.Array) else array.ctypes.data


def aligned(n, dtype="float32"):
    """A NumPy array whose memory JAX can take as it is."""
    room = np.zeros(64 + n * np.dtype(dtype).itemsize, np.uint8)
    start = -pointer(room) % 64
    array = room[start : start + n * np.dtype(dtype).itemsize].view(dtype)
    array[:] = np.arange(n)
    return array


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype_goes_every_way_with_its_values(dtype):
    array = np.array(VALUES).astype(jnp.dtype(dtype)).reshape(2, 3)
    with jax.enable_x64(True):
        for convert in (to_jax, to_torch, to_numpy):
            converted = convert(array)
            assert str(converted.dtype).removeprefix("torch.") == dtype
            for back in (to_jax(converted), to_torch(converted), to_numpy(converted)):
                assert str(back.dtype).removeprefix("torch.") == dtype
                np.testing.assert_array_equal(to_numpy(back), array)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1, 1)])
def test_scalars_and_empty_arrays_keep_their_shape(shape):
    array = np.ones(shape, jnp.bfloat16)
    for converted in (to_jax(array), to_torch(array), to_numpy(to_torch(array)), to_torch(to_jax(array))):
        assert tuple(converted.shape) == shape


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int32", "bool"])
def test_nothing_is_copied_that_is_in_place_already(dtype):
    ours, tensor = jnp.arange(1000).astype(dtype), torch.arange(1000).to(getattr(torch, dtype))
    assert pointer(to_torch(ours, copy=False)) == pointer(ours)
    assert pointer(to_jax(tensor)) == pointer(tensor)
    assert pointer(to_numpy(ours)) == pointer(ours)
    assert pointer(to_numpy(tensor)) == pointer(tensor)
    assert to_jax(ours) is ours


def test_numpy_memory_is_shared_where_the_other_can_take_it():
    array = aligned(1000)
    assert pointer(to_jax(array)) == pointer(array)
    assert pointer(to_torch(array, copy=False)) == pointer(array)
    assert pointer(to_torch(array[1:], copy=False)) == pointer(array[1:])
    np.testing.assert_array_equal(to_jax(array[1:]), array[1:])  # a copy, as it is not aligned


def test_a_tensor_is_a_copy_unless_told_otherwise():
    array, tensor = np.arange(4.0), torch.arange(4.0)
    to_torch(array).zero_()
    to_torch(tensor).zero_()
    np.testing.assert_array_equal(array, np.arange(4))
    np.testing.assert_array_equal(tensor, np.arange(4))


def test_read_only_memory_is_shared_without_a_warning():
    array = np.arange(4.0)
    array.setflags(write=False)
    assert pointer(to_torch(array, copy=False)) == pointer(array)  # warnings are errors here


@pytest.mark.parametrize("view", [np.s_[::-1], np.s_[::2], np.s_[:, ::-1], np.s_[1:, 2:]])
def test_views_in_any_order_keep_their_values(view):
    array = np.arange(20, dtype=np.float32).reshape(4, 5)[view]
    np.testing.assert_array_equal(to_torch(array), array)
    np.testing.assert_array_equal(to_jax(array), array)


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(1).expand(5), torch.arange(6.0).reshape(2, 3).T, torch.arange(6)[::2], torch.eye(3).to_sparse()],
)
def test_tensors_of_any_layout_keep_their_values(tensor):
    np.testing.assert_array_equal(to_jax(tensor), tensor.to_dense().numpy())


def test_a_tensor_that_only_remembers_to_negate():
    tensor = torch.tensor([1 + 2j]).conj().imag
    assert tensor.is_neg()
    np.testing.assert_array_equal(to_jax(tensor), [-2])


def test_the_graph_of_a_tensor_stays_behind():
    leaf = torch.ones(3, requires_grad=True)
    assert not to_torch(leaf, copy=False).requires_grad
    np.testing.assert_array_equal(to_numpy(leaf * 2), [2, 2, 2])


def test_integers_that_fit_become_32_bits_wide():
    assert to_jax(np.array([-(2**31), 2**31 - 1])).dtype == "int32"
    assert to_jax(np.array([2**32 - 1], np.uint64)).dtype == "uint32"
    with pytest.raises(ValueError, match="int32 cannot hold 2147483648; JAX has int64 only with jax_enable_x64"):
        to_jax(torch.tensor([1, 2**31]))
    with jax.enable_x64(True):
        assert int(to_jax(np.array(2**31))) == 2**31


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("word", "str"),
        ([1.0], "list"),
        (np.array(["word"]), "ndarray of <U4"),
        (np.zeros(2, complex), "ndarray of complex128"),
        (np.zeros(2, ">f4"), "ndarray of >f4"),
        (torch.zeros(2, dtype=torch.complex64), "Tensor of complex64"),
        (torch.zeros(2, dtype=torch.float8_e4m3fn), "Tensor of float8_e4m3fn"),
        (jax.random.key(0), "PRNGKeyArray of key<fry>"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_else_is_an_error_that_says_what_it_is(value, what):
    with pytest.raises(TypeError, match=f"expected an array of booleans, integers or real numbers, got {what}"):
        to_numpy(value)
