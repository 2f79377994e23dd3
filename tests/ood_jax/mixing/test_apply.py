"""Both applies on injected draws, against NumPy written out row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax

N = 12
IMAGE = (5, 9)  # height and width differ, so that swapping them shows
SHAPES = {
    "batch": ((), (N,)),
    "rows": ((N,), (N,)),
    "groups": ((3,), (3, 4)),
    "groups and rows": ((N,), (3, 4)),
    "one group": ((1,), (1, N)),
    "groups of one": ((N,), (N, 1)),
}
MODES = pytest.mark.parametrize("mode", SHAPES)


def make(mode, seed=0):
    """Random λ, boxes and partners of a mode, and the same spread over rows with global partners."""
    rng = np.random.default_rng(seed)
    drawn, partner_shape = SHAPES[mode]
    groups, rows_each = partner_shape if len(partner_shape) == 2 else (1, N)
    partner = np.stack([rng.permutation(rows_each) for _ in range(groups)])
    rows = (partner + rows_each * np.arange(groups)[:, None]).ravel()
    lam = rng.beta(1, 1, drawn).astype(np.float32)
    top, left = rng.integers(0, 4, drawn), rng.integers(0, 8, drawn)
    box = ood_jax.Box(top, top + rng.integers(0, 3, drawn), left, left + rng.integers(0, 4, drawn))
    box = ood_jax.Box(*(np.asarray(edge, np.int32) for edge in box))

    def spread(values):
        return np.repeat(values, N // max(1, values.size)) if values.ndim else np.full(N, values)

    return lam, box, partner.reshape(partner_shape).astype(np.int32), rows, spread


def images(dtype, seed=1):
    rng = np.random.default_rng(seed)
    if jnp.issubdtype(dtype, jnp.integer):
        return rng.integers(0, 100, (N, *IMAGE, 3)).astype(dtype)
    return rng.standard_normal((N, *IMAGE, 3)).astype(dtype)


@MODES
def test_mixup_row_by_row(mode):
    lam, _, partner, rows, spread = make(mode)
    x, y = images(np.float32), np.arange(N)
    mixed = ood_jax.apply_mixup(ood_jax.MixupDraw(lam, partner), x, y)
    for i in range(N):
        weight = spread(lam)[i]
        expected = weight * x[i] + (np.float32(1) - weight) * x[rows[i]]
        np.testing.assert_array_equal(mixed.x[i], expected)
    np.testing.assert_array_equal(mixed.y_a, y)
    np.testing.assert_array_equal(mixed.y_b, y[rows])
    assert mixed.lam.shape == (() if mode == "batch" else (N,))
    np.testing.assert_array_equal(mixed.lam, lam if mode == "batch" else spread(lam))


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@MODES
def test_cutmix_row_by_row(mode, data_format):
    _, box, partner, rows, spread = make(mode)
    x, y = images(np.float32), np.arange(N)
    given = x if data_format == "NHWC" else x.transpose(0, 3, 1, 2)
    mixed = ood_jax.apply_cutmix(ood_jax.CutMixDraw(box, partner), given, y, data_format=data_format)
    result = np.asarray(mixed.x if data_format == "NHWC" else mixed.x.transpose(0, 2, 3, 1))
    share = np.empty(N, np.float32)
    for i in range(N):
        top, bottom, left, right = (spread(edge)[i] for edge in box)
        expected, kept = x[i].copy(), np.ones(IMAGE, bool)
        expected[top:bottom, left:right] = x[rows[i], top:bottom, left:right]
        kept[top:bottom, left:right] = False
        share[i] = kept.sum() / kept.size
        np.testing.assert_array_equal(result[i], expected)
    np.testing.assert_array_equal(mixed.y_b, y[rows])
    np.testing.assert_array_equal(mixed.lam, share[0] if mode == "batch" else share)
    assert mixed.lam.shape == (() if mode == "batch" else (N,))


@pytest.mark.parametrize(
    "dtype", ["float32", "bfloat16", "float16", "uint8", "int8", "int32", "uint16", "bool", "complex64"]
)
def test_cutmix_keeps_every_bit(dtype):
    _, box, partner, rows, _ = make("batch")
    x = images(np.float32).astype(jnp.dtype(dtype))
    mixed = ood_jax.apply_cutmix(ood_jax.CutMixDraw(box, partner), x, np.arange(N))
    inside = np.zeros(IMAGE, bool)
    inside[box.top : box.bottom, box.left : box.right] = True
    expected = np.where(inside[None, :, :, None], x[rows], x)
    assert mixed.x.dtype == jnp.dtype(dtype)
    assert np.asarray(mixed.x).tobytes() == expected.tobytes()


@pytest.mark.parametrize(("dtype", "result"), [("uint8", "float32"), ("int32", "float32"), ("bool", "float32"),
    ("bfloat16", "bfloat16"), ("float16", "float16"), ("float32", "float32"), ("complex64", "complex64")])  # fmt: skip
def test_mixup_rounds_once_into_the_images_dtype(dtype, result):
    lam, _, partner, rows, _ = make("batch", seed=3)
    x = images(np.float32).astype(jnp.dtype(dtype))
    wide = x.astype(np.complex64 if dtype == "complex64" else np.float32)
    expected = (lam * wide + (1 - lam) * wide[rows]).astype(jnp.dtype(result))
    mixed = ood_jax.apply_mixup(ood_jax.MixupDraw(lam, partner), x, np.arange(N))
    assert mixed.x.dtype == jnp.dtype(result)
    np.testing.assert_array_equal(mixed.x, expected)


def test_float64_images_stay_float64():
    lam, _, partner, rows, _ = make("batch")
    with jax.enable_x64(True):
        x = images(np.float64)
        mixed = ood_jax.apply_mixup(ood_jax.MixupDraw(lam, partner), x, np.arange(N))
        assert mixed.x.dtype == jnp.float64
        expected = np.float64(lam) * x + (1 - np.float64(lam)) * x[rows]
        np.testing.assert_allclose(mixed.x, expected, rtol=1e-12, atol=0)


@MODES
def test_bytes_may_be_mixed_before_they_are_normalised(mode):
    def normalise(pixels):
        mean, std = (np.asarray(each, pixels.dtype) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
        return (pixels / np.asarray(255, pixels.dtype) - mean) / std

    lam, box, partner, rows, spread = make(mode)
    x, y = images(np.uint8), np.arange(N)
    normal = normalise(x.astype(np.float32))
    mixup, cutmix = ood_jax.MixupDraw(lam, partner), ood_jax.CutMixDraw(box, partner)
    cut_first = normalise(np.asarray(ood_jax.apply_cutmix(cutmix, x, y).x, np.float32))
    np.testing.assert_array_equal(cut_first, ood_jax.apply_cutmix(cutmix, normal, y).x)
    weight = spread(lam).astype(np.float64)[:, None, None, None]
    exact = normalise(x.astype(np.float64))
    exact = weight * exact + (1 - weight) * exact[rows]
    mixed_first = normalise(np.asarray(ood_jax.apply_mixup(mixup, x, y).x))
    for mixed in (mixed_first, ood_jax.apply_mixup(mixup, normal, y).x):
        assert mixed.dtype == np.float32
        np.testing.assert_allclose(mixed, exact, rtol=0, atol=2e-6)  # of numbers up to 3, a few times rounded


def test_labels_lam_and_coordinates_never_take_the_images_dtype():
    # In bfloat16 a class 777 would become 776, and λ would keep three digits.
    x, labels = images(np.float32).astype(jnp.bfloat16), np.full(N, 777)
    mixed = ood_jax.mixup(jax.random.key(0), x, labels)
    cut = ood_jax.cutmix(jax.random.key(0), x, labels)
    for result in (mixed, cut):
        assert result.lam.dtype == jnp.float32
        assert result.y_b.tolist() == labels.tolist()


def test_soft_labels_and_extra_axes_mix_too():
    lam, _, partner, rows, _ = make("groups")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((N, 2)).astype(np.float32), rng.dirichlet(np.ones(4), N).astype(np.float32)
    mixed = ood_jax.apply_mixup(ood_jax.MixupDraw(lam, partner), x, y)
    np.testing.assert_array_equal(mixed.y_b, y[rows])
    video = rng.standard_normal((N, 2, 3, 4, 2)).astype(np.float32)
    assert ood_jax.apply_mixup(ood_jax.MixupDraw(lam, partner), video, y).x.shape == video.shape


@pytest.mark.parametrize("n", [0, 1, 7])
def test_odd_single_and_empty_batches(n):
    x, y = np.ones((n, 4, 6, 1), np.float32), np.arange(n)
    for mixed in (ood_jax.mixup(jax.random.key(0), x, y), ood_jax.cutmix(jax.random.key(0), x, y)):
        np.testing.assert_array_equal(mixed.x, x)
        assert sorted(mixed.y_b.tolist()) == y.tolist()


@pytest.mark.parametrize("alpha", [0.0, -1.0])
def test_without_a_positive_alpha_the_batch_is_unchanged(alpha):
    x, y = images(np.float32), np.arange(N)
    for mix in (ood_jax.mixup, ood_jax.cutmix):
        mixed = mix(jax.random.key(0), x, y, alpha=alpha)
        np.testing.assert_array_equal(mixed.x, x)
        assert float(mixed.lam) == 1


@pytest.mark.parametrize(("groups", "per_example"), [(None, False), (3, False), (None, True), (4, True)])
def test_the_public_functions_are_a_draw_and_an_apply(groups, per_example):
    key, x, y = jax.random.key(9), images(np.float32), np.arange(N)
    options = {"alpha": 0.7, "groups": groups, "per_example": per_example}
    pairs = (
        (ood_jax.mixup(key, x, y, **options), ood_jax.apply_mixup(ood_jax.draw_mixup(key, N, **options), x, y)),
        (
            ood_jax.cutmix(key, x.transpose(0, 3, 1, 2), y, data_format="NCHW", **options),
            ood_jax.apply_cutmix(
                ood_jax.draw_cutmix(key, N, IMAGE, **options), x.transpose(0, 3, 1, 2), y, data_format="NCHW"
            ),
        ),
    )
    for whole, parts in pairs:
        for a, b in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("partner", [[0, 5], [0, -1], [[0], [1]]])
def test_a_partner_outside_the_batch_or_the_group_shows(partner):
    draw = ood_jax.MixupDraw(np.float32(0.5), np.array(partner))
    mixed = ood_jax.apply_mixup(draw, np.ones((2, 3), np.float32), np.arange(2))
    assert np.isnan(mixed.x[1]).all()
    assert np.isfinite(mixed.x[0]).all()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool", "bfloat16"])
@pytest.mark.parametrize("partner", [[0, 5], [0, -1], [[0], [1]], np.array([0, 200], np.uint8)])
def test_it_shows_in_numbers_of_every_kind(partner, dtype):
    for lam in (0.5, 1.0):
        draw = ood_jax.MixupDraw(np.float32(lam), np.array(partner))
        mixed = ood_jax.apply_mixup(draw, jnp.ones((2, 3), dtype), np.arange(2))
        assert np.isnan(mixed.x[1].astype(np.float32)).all()
        np.testing.assert_array_equal(mixed.x[0].astype(np.float32), np.ones(3))


def test_lam_of_an_injected_draw_comes_out_as_float32():
    draw = ood_jax.MixupDraw(jnp.bfloat16(0.5), np.array([1, 0]))
    assert ood_jax.apply_mixup(draw, np.ones((2, 3), np.float32), np.arange(2)).lam.dtype == jnp.float32


FORMATS = pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])


def pasted(box, height, width, data_format):
    """Where ones are pasted into zeros, of two channels alike, and the λ that is returned."""
    draw = ood_jax.CutMixDraw(box, np.array([1, 0]))
    shape = (height, width, 2) if data_format == "NHWC" else (2, height, width)
    mixed = ood_jax.apply_cutmix(
        draw, np.stack([np.zeros(shape, np.uint8), np.ones(shape, np.uint8)]), np.arange(2), data_format=data_format
    )
    channels = np.moveaxis(np.asarray(mixed.x[0]), -1 if data_format == "NHWC" else 0, 0)
    np.testing.assert_array_equal(channels[0], channels[1])
    return channels[0].astype(bool), float(mixed.lam)


@FORMATS
def test_a_reversed_box_is_empty(data_format):
    inside, lam = pasted(ood_jax.Box(*np.array([3, 1, 5, 2], np.int32)), 4, 8, data_format)
    assert not inside.any()
    assert lam == 1
    inside, lam = pasted(ood_jax.Box(*np.array([1, 3, 5, 2], np.int32)), 4, 8, data_format)
    assert not inside.any()
    assert lam == 1


@FORMATS
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
def test_a_box_outside_the_image_counts_only_what_is_pasted(dtype, data_format):
    # Sides and pixels are more than a byte holds, and the largest edges would overflow in any arithmetic on them.
    height, width = 200, 150
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    for edges in [(low, high, low, high), (low, 3, 20, 99), (3, 100, 7, high), (0, 0, low, high)]:
        rows, columns = slice(max(edges[0], 0), edges[1]), slice(max(edges[2], 0), edges[3])
        expected = np.zeros((height, width), bool)
        expected[rows, columns] = True
        inside, lam = pasted(ood_jax.Box(*np.array(edges, dtype)), height, width, data_format)
        np.testing.assert_array_equal(inside, expected)
        assert lam == np.float32((height * width - expected.sum()) / (height * width))


@pytest.mark.parametrize("size", [(7, 19), (224, 224), (1, 133)])
def test_lam_is_the_nearest_float_to_the_share_of_pixels_kept(size):
    height, width = size
    rows = np.arange(height + 1, dtype=np.int32)
    zero = np.zeros_like(rows)
    for right in (width // 3, width - 1, width):
        box = ood_jax.Box(zero, rows, zero, np.full_like(rows, right))
        draw = ood_jax.CutMixDraw(box, np.arange(height + 1))
        lam = ood_jax.apply_cutmix(draw, np.zeros((height + 1, height, width, 0)), rows).lam
        expected = ((height * width - rows * right) / (height * width)).astype(np.float32)
        np.testing.assert_array_equal(lam, expected)


def test_gradients_flow_to_both_rows():
    lam, box, partner, rows, _ = make("batch")
    x = images(np.float32)
    weights = np.random.default_rng(5).standard_normal(x.shape).astype(np.float32)
    gradient = jax.grad(lambda x: (ood_jax.apply_mixup(ood_jax.MixupDraw(lam, partner), x, rows).x * weights).sum())(x)
    expected = lam * weights
    expected[rows] += (1 - lam) * weights
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)
    gradient = jax.grad(lambda x: (ood_jax.apply_cutmix(ood_jax.CutMixDraw(box, partner), x, rows).x * weights).sum())(
        x
    )
    inside = np.zeros(IMAGE, bool)
    inside[box.top : box.bottom, box.left : box.right] = True
    inside = inside[None, :, :, None]
    expected = np.where(inside, 0, weights)
    expected[rows] += np.where(inside, weights, 0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)


def test_gradient_in_lam_is_the_difference():
    _, _, partner, rows, _ = make("batch")
    x = images(np.float32)
    slope = jax.grad(lambda lam: ood_jax.apply_mixup(ood_jax.MixupDraw(lam, partner), x, rows).x[0, 0, 0, 0])(0.3)
    np.testing.assert_allclose(slope, x[0, 0, 0, 0] - x[rows[0], 0, 0, 0], rtol=1e-6)
