"""Bad input is an error at trace time that names the argument, what was expected, what came, and a way out."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import pytest

import ood_jax
from ood_jax import apply_cutmix, apply_mixup, cutmix, cutmix_box, draw_cutmix, draw_mixup, free_energy, mixup

KEY = jax.random.key(0)
X, Y = jnp.zeros((6, 4, 5, 3)), jnp.arange(6)
Z, T = jnp.zeros((6, 3)), jnp.zeros(6, int)
MIXUP_DRAW = ood_jax.MixupDraw(jnp.float32(0.5), jnp.arange(6))
BOX = ood_jax.Box(*jnp.zeros((4,), jnp.int32))
CUTMIX_DRAW = ood_jax.CutMixDraw(BOX, jnp.arange(6))

oe, energy = ood_jax.outlier_exposure_loss, ood_jax.energy_regularized_loss
bounded, soft_targets = ood_jax.energy_bounded_loss, ood_jax.soft_targets


def mixed(y_a, y_b=None):
    return ood_jax.Mixed(X, y_a, y_a if y_b is None else y_b, jnp.float32(0.5))


def scalar_criterion(pred, y):
    return jnp.mean(pred)


class Unhashable:
    __hash__ = None

    def __call__(self, pred, y):
        return pred[:, 0]


# function called, its error, the argument named, and a word each of what came and of what to do
CASES = {
    # keys
    "a seed for a key": (partial(mixup, 0, X, Y), TypeError, "key", "int32", "jax.random.key"),
    "a raw key": (partial(draw_mixup, jnp.zeros(2, jnp.uint32), 6), TypeError, "key", "uint32", "wrap_key_data"),
    "no key": (partial(cutmix, None, X, Y), TypeError, "key", "NoneType", "jax.random.key"),
    "many keys": (partial(ood_jax.symmetric_beta, jax.random.split(KEY), 1.0), ValueError, "key", "(2,)", "vmap"),
    # batches
    "a batch of scalars": (partial(mixup, KEY, Y, Y), ValueError, "x", "(6,)", "[:, None]"),
    "batch sizes that differ": (partial(mixup, KEY, X, Y[:5]), ValueError, "y", "(5,)", "first axis"),
    "a scalar target": (partial(cutmix, KEY, X, Y[0]), ValueError, "y", "()", "first axis"),
    "a list for a batch": (partial(mixup, KEY, [1.0, 2.0], Y), TypeError, "x", "list", "asarray"),
    "no targets": (partial(mixup, KEY, X, None), TypeError, "y", "NoneType", "asarray"),
    "images of three axes": (partial(cutmix, KEY, X[0], Y[:4]), ValueError, "x", "(4, 5, 3)", "NHWC"),
    "images of five axes": (partial(cutmix, KEY, X[..., None], Y), ValueError, "x", "(6, 4, 5, 3, 1)", "NHWC"),
    "images of no pixels": (partial(cutmix, KEY, X[:, :0], Y), ValueError, "x", "(6, 0, 5, 3)", "one pixel"),
    "unknown data_format": (
        partial(cutmix, KEY, X, Y, data_format="NHCW"),
        ValueError,
        "data_format",
        "'NHCW'",
        "'NCHW'",
    ),
    # options of a draw
    "groups that do not divide": (partial(mixup, KEY, X, Y, groups=4), ValueError, "groups", "6 rows", "divisor"),
    "no groups": (partial(mixup, KEY, X, Y, groups=0), ValueError, "groups", "0", "at least 1"),
    "negative groups": (partial(draw_cutmix, KEY, 6, (4, 5), groups=-2), ValueError, "groups", "-2", "at least"),
    "groups in a list": (partial(mixup, KEY, X, Y, groups=[2]), TypeError, "groups", "list", "Python number"),
    "an image size in a list": (
        partial(draw_cutmix, KEY, 6, [4, 5]),
        TypeError,
        "image_size",
        "list",
        "a tuple of them",
    ),
    "a traced size": (partial(jax.jit(partial(draw_mixup, KEY)), 6), TypeError, "n", "int32[]", "Python number"),
    "a margin that is a key": (partial(bounded, Z, T, Z, m_in=KEY), TypeError, "m_in", "key<fry>", "real"),
    "an axis by number": (partial(mixup, KEY, X, Y, groups=6, axis_name=0), TypeError, "axis_name", "got 0", "names"),
    "an axis that is not there": (
        partial(mixup, KEY, X, Y, groups=6, axis_name="data"),
        ValueError,
        "axis_name",
        "'data'",
        "leave it out",
    ),
    "no λ": (
        partial(soft_targets, ood_jax.Mixed(X, Y, Y, None), 6),
        TypeError,
        "mixed.lam",
        "NoneType",
        "asarray",
    ),
    "a loss over one": (
        partial(oe, Z, T, Z, axis_name=("data",)),
        ValueError,
        "axis_name",
        "('data',)",
        "leave it out",
    ),
    "no axes": (partial(draw_cutmix, KEY, 6, (4, 5), axis_name=()), TypeError, "axis_name", "()", "names"),
    "groups of a half": (partial(draw_mixup, KEY, 6, groups=2.0), TypeError, "groups", "float", "Python int"),
    "groups true": (partial(draw_mixup, KEY, 6, groups=True), TypeError, "groups", "bool", "Python int"),
    "per_example a number": (partial(mixup, KEY, X, Y, per_example=1), TypeError, "per_example", "1", "True or"),
    "alpha an array": (partial(mixup, KEY, X, Y, alpha=jnp.ones(6)), ValueError, "alpha", "(6,)", "vmap"),
    "alpha true": (partial(mixup, KEY, X, Y, alpha=True), TypeError, "alpha", "bool", "floats"),
    "alpha complex": (partial(ood_jax.symmetric_beta, KEY, 1j), TypeError, "alpha", "complex", "floats"),
    "alpha of another shape": (
        partial(ood_jax.symmetric_beta, KEY, jnp.ones(2), (3,)),
        ValueError,
        "alpha",
        "(2,)",
        "broadcast",
    ),
    "a negative size": (partial(draw_mixup, KEY, -1), ValueError, "n", "-1", "at least 0"),
    "a float size": (partial(draw_mixup, KEY, 6.0), TypeError, "n", "float", "x.shape"),
    "one side": (partial(draw_cutmix, KEY, 6, 32), TypeError, "image_size", "32", "(height, width)"),
    "a side of none": (partial(draw_cutmix, KEY, 6, (0, 5)), ValueError, "image_size[0]", "0", "at least 1"),
    "a float side": (partial(draw_cutmix, KEY, 6, (4, 5.5)), TypeError, "image_size[1]", "float", "int"),
    "too many pixels": (partial(draw_cutmix, KEY, 6, (65536, 65536)), ValueError, "image_size", "65536", "tiles"),
    "unknown pairing": (partial(mixup, KEY, X, Y, pairing="swap"), ValueError, "pairing", "'swap'", "'permute' or"),
    "unknown pairing, cutmix": (partial(draw_cutmix, KEY, 6, (4, 5), pairing=1), ValueError, "pairing", "1", "'flip'"),
    "unknown geometry": (
        partial(draw_cutmix, KEY, 6, (4, 5), geometry="torchvision"),
        ValueError,
        "geometry",
        "'torchvision'",
        "'paper' or",
    ),
    "unknown geometry, cutmix": (partial(cutmix, KEY, X, Y, geometry=2), ValueError, "geometry", "2", "'kornia'"),
    "fold a number": (partial(mixup, KEY, X, Y, fold=1), TypeError, "fold", "1", "True or"),
    "fold a word": (partial(draw_cutmix, KEY, 6, (4, 5), fold="yes"), TypeError, "fold", "'yes'", "True or"),
    # injected draws
    "another draw for mixup": (partial(apply_mixup, CUTMIX_DRAW, X, Y), TypeError, "draw", "CutMixDraw", "draw_mixup"),
    "another draw for cutmix": (partial(apply_cutmix, MIXUP_DRAW, X, Y), TypeError, "draw", "MixupDraw", "draw_cutmix"),
    "a draw of another size": (
        partial(apply_mixup, ood_jax.MixupDraw(jnp.float32(0.5), jnp.arange(5)), X, Y),
        ValueError,
        "draw.partner",
        "(5,)",
        "n=6",
    ),
    "float partners": (
        partial(apply_mixup, ood_jax.MixupDraw(jnp.float32(0.5), jnp.arange(6.0)), X, Y),
        TypeError,
        "draw.partner",
        "float32",
        "int32",
    ),
    "λ of another size": (
        partial(apply_mixup, ood_jax.MixupDraw(jnp.ones(3), jnp.arange(6)), X, Y),
        ValueError,
        "draw.lam",
        "(3,)",
        "one draw",
    ),
    "a box of another size": (
        partial(apply_cutmix, ood_jax.CutMixDraw(ood_jax.Box(*jnp.zeros((4, 2), int)), jnp.arange(6)), X, Y),
        ValueError,
        "draw.box.top",
        "(2,)",
        "one draw",
    ),
    "a centre of floats": (partial(cutmix_box, 0.5, (1.0, 2), (4, 5)), TypeError, "center[0]", "float32", "cast"),
    "a centre of another shape": (
        partial(cutmix_box, jnp.ones(2), (jnp.arange(2), 1), (4, 5)),
        ValueError,
        "center[1]",
        "()",
        "(2,)",
    ),
    "one coordinate": (partial(cutmix_box, 0.5, 3, (4, 5)), TypeError, "center", "int32", "pair"),
    "one coordinate, timm": (partial(ood_jax.timm_box, 0.5, 3, (4, 5)), TypeError, "center", "int32", "pair"),
    "three coordinates": (partial(ood_jax.timm_box, 0.5, (1, 2, 3), (4, 5)), TypeError, "center", "tuple", "pair"),
    "one start": (partial(ood_jax.kornia_box, 0.5, 0.3, (4, 5)), TypeError, "start", "float32", "pair"),
    "a start of ints": (partial(ood_jax.kornia_box, 0.5, (1, 0.5), (4, 5)), TypeError, "start[0]", "int32", "cast"),
    "a start of another shape": (
        partial(ood_jax.kornia_box, 0.5, (0.1, jnp.ones(2)), (4, 5)),
        ValueError,
        "start[1]",
        "(2,)",
        "()",
    ),
    # dense targets
    "a tuple for a mixed batch": (partial(soft_targets, (X, Y, Y, 0.5), 3), TypeError, "mixed", "tuple", "`cutmix`"),
    "targets in a list": (partial(soft_targets, mixed([0] * 6), 3), TypeError, "mixed.y_a", "list", "asarray"),
    "float classes of a mixed batch": (
        partial(soft_targets, mixed(Y.astype(float)), 3),
        ValueError,
        "mixed.y_a",
        "(6,)",
        "must be integers",
    ),
    "one-hot integers of a mixed batch": (
        partial(soft_targets, mixed(Y, Z.astype(int)), 3),
        ValueError,
        "mixed.y_b",
        "(6, 3)",
        "flatten",
    ),
    "probabilities of another class count, mixed": (
        partial(soft_targets, mixed(Z), 4),
        ValueError,
        "mixed.y_a",
        "(6, 3)",
        "(N, 4)",
    ),
    "boolean targets of a mixed batch": (
        partial(soft_targets, mixed(Y > 0), 3),
        TypeError,
        "mixed.y_a",
        "bool",
        "integer classes",
    ),
    "no classes": (partial(soft_targets, mixed(Y), 0), ValueError, "num_classes", "0", "at least 1"),
    "classes of a half": (partial(soft_targets, mixed(Y), 3.0), TypeError, "num_classes", "float", "Python int"),
    "a smoothing a row": (
        partial(soft_targets, mixed(Y), 3, smoothing=jnp.ones(6)),
        ValueError,
        "smoothing",
        "(6,)",
        "vmap",
    ),
    "λ complex": (partial(cutmix_box, 1j, (1, 2), (4, 5)), TypeError, "lam", "complex", "floats"),
    "λ of the draw complex": (
        partial(apply_mixup, ood_jax.MixupDraw(1j, jnp.arange(6)), X, Y),
        TypeError,
        "draw.lam",
        "complex64",
        "one draw",
    ),
    "a box of floats": (
        partial(apply_cutmix, ood_jax.CutMixDraw(ood_jax.Box(0.4, 1.6, 0.2, 2.5), jnp.arange(6)), X, Y),
        TypeError,
        "draw.box.top",
        "float32",
        "one draw",
    ),
    "a tuple for a box": (
        partial(apply_cutmix, ood_jax.CutMixDraw((0, 1, 0, 2), jnp.arange(6)), X, Y),
        TypeError,
        "draw.box",
        "tuple",
        "cutmix_box",
    ),
    "a shape of floats": (partial(ood_jax.symmetric_beta, KEY, 1.0, (3.0,)), TypeError, "shape[0]", "float", "int"),
    "a size for a shape": (partial(ood_jax.symmetric_beta, KEY, 1.0, 3), TypeError, "shape", "int", "tuple"),
    "y_a of another size": (
        partial(ood_jax.mixup_cross_entropy, Z, T[:5], T, 0.5),
        ValueError,
        "y_a",
        "(5,)",
        "(6,)",
    ),
    "losses of two shapes": (
        partial(ood_jax.mixup_criterion, lambda pred, y: y.astype(float), Z, T, T[:1], 0.5),
        ValueError,
        "criterion",
        "(6,) and (1,)",
        "one shape",
    ),
    "a criterion of no array for y_b": (
        partial(ood_jax.mixup_criterion, lambda pred, y: y if y.ndim else {"loss": y}, Z, T, T[0], 0.5),
        TypeError,
        "criterion(pred, y_b)",
        "dict",
        "asarray",
    ),
    # logits and targets
    "integer logits": (partial(oe, T[:, None], T), TypeError, "logits_in", "int32", "astype"),
    "integer outlier logits": (partial(energy, Z, T, Z.astype(int)), TypeError, "logits_out", "int32", "astype"),
    "integer logits, energy": (partial(free_energy, T), TypeError, "logits", "int32", "astype"),
    "logits without classes": (partial(oe, Z[0, 0], T[0]), ValueError, "logits_in", "()", "last axis"),
    "logits of no class": (partial(free_energy, Z[:, :0]), ValueError, "logits", "(6, 0)", "at least one class"),
    "targets of another size": (partial(oe, Z, T[:5]), ValueError, "targets_in", "(5,)", "(6,)"),
    "one-hot integers": (partial(oe, Z, Z.astype(int)), ValueError, "targets_in", "(6, 3)", "floating-point"),
    "float classes": (partial(energy, Z, T.astype(float)), ValueError, "targets_in", "(6,)", "must be integers"),
    "probabilities of another class count": (partial(oe, Z, Z[:, :2]), ValueError, "targets_in", "(6, 2)", "(6, 3)"),
    "boolean targets": (partial(oe, Z, T > 0), TypeError, "targets_in", "bool", "classes"),
    "class counts that differ": (partial(oe, Z, T, Z[:, :2]), ValueError, "logits_out", "2", "same output layer"),
    "class counts that differ, energy": (
        partial(energy, Z, T, Z[:, :2]),
        ValueError,
        "logits_out",
        "2",
        "output layer",
    ),
    "y_b of another size": (partial(ood_jax.mixup_cross_entropy, Z, T, T[:5], 0.5), ValueError, "y_b", "(5,)", "(6,)"),
    "λ for another batch": (
        partial(ood_jax.mixup_cross_entropy, Z, T, T, jnp.ones(5)),
        ValueError,
        "lam",
        "(5,)",
        "(6,)",
    ),
    # forms and masks
    "unknown form": (partial(oe, Z, T, Z, form="KL"), ValueError, "form", "'KL'", "'kl' or"),
    "unknown energy form": (partial(energy, Z, T, Z, form="hinge"), ValueError, "form", "'hinge'", "'pairwise' or"),
    "a weight a row": (partial(oe, Z, T, Z, lambda_oe=jnp.ones(6)), ValueError, "lambda_oe", "(6,)", "vmap"),
    "a margin a row": (partial(energy, Z, T, Z, margin=jnp.ones(6)), ValueError, "margin", "(6,)", "vmap"),
    "sides that do not pair": (partial(energy, Z, T, Z[:4]), ValueError, "logits_out", "(6,) and (4,)", "form='mean'"),
    "sides that would broadcast": (
        partial(energy, Z.reshape(2, 3, 3), T.reshape(2, 3), Z[:2].reshape(2, 1, 3)),
        ValueError,
        "logits_out",
        "(2, 3) and (2, 1)",
        "form='mean'",
    ),
    "a mask of numbers": (partial(oe, Z, T, where_in=jnp.ones(6)), TypeError, "where_in", "float32", "> 0"),
    "a mask over classes": (
        partial(energy, Z, T, Z, where_out=Z > 0),
        ValueError,
        "where_out",
        "(6, 3)",
        "row of `logits_out`",
    ),
    "a mask without outliers": (partial(oe, Z, T, where_out=T > 0), ValueError, "where_out", "without", "drop it"),
    "unknown reduction": (partial(oe, Z, T, Z, reduction="mean"), ValueError, "reduction", "'mean'", "'separate' or"),
    "unknown reduction, bounded": (
        partial(bounded, Z, T, reduction="sum"),
        ValueError,
        "reduction",
        "'sum'",
        "'pooled'",
    ),
    "margins out of order": (partial(bounded, Z, T, Z, m_in=-5.0, m_out=-23.0), ValueError, "m_in", "-23.0", "swap"),
    "margins that are equal": (partial(bounded, Z, T, Z, m_in=2, m_out=2), ValueError, "m_in", "m_in=2", "calibrate"),
    "a margin a row, bounded": (partial(bounded, Z, T, Z, m_in=jnp.ones(6)), ValueError, "m_in", "(6,)", "vmap"),
    "an upper margin a row": (partial(bounded, Z, T, Z, m_out=jnp.ones(6)), ValueError, "m_out", "(6,)", "vmap"),
    "a mask without outliers, bounded": (
        partial(bounded, Z, T, where_out=T > 0),
        ValueError,
        "where_out",
        "without",
        "drop it",
    ),
    "class counts that differ, calibration": (
        partial(ood_jax.calibrate_margins, Z, Z[:, :2]),
        ValueError,
        "logits_out",
        "2",
        "output layer",
    ),
    "no rows to calibrate on": (
        partial(ood_jax.calibrate_margins, Z, Z[:0]),
        ValueError,
        "logits_out",
        "(0, 3)",
        "mean needs one",
    ),
    "integer logits, calibration": (
        partial(ood_jax.calibrate_margins, T[:, None], Z),
        TypeError,
        "logits_in",
        "int32",
        "astype",
    ),
    # calls
    "an option by position": (partial(mixup, KEY, X, Y, 0.5), TypeError, "mixup", "too many", "*, alpha, fold"),
    "an argument forgotten": (partial(free_energy), TypeError, "free_energy", "'logits'", "(logits, *, temperature)"),
    "an option that is none": (
        partial(bounded, Z, T, Z, margin=1.0),
        TypeError,
        "energy_bounded_loss",
        "'margin'",
        "m_in",
    ),
    "None for a number": (partial(oe, Z, T, Z, lambda_oe=None), TypeError, "lambda_oe", "NoneType", "number"),
    # criteria
    "a scalar criterion with a λ a row": (
        partial(ood_jax.mixup_criterion, scalar_criterion, Z, T, T, jnp.ones(6)),
        ValueError,
        "criterion",
        "()",
        "after mixing",
    ),
    "λ of two axes": (
        partial(ood_jax.mixup_criterion, scalar_criterion, Z, T, T, jnp.ones((6, 1))),
        ValueError,
        "lam",
        "(6, 1)",
        "(N,)",
    ),
    "a criterion without a hash": (
        partial(ood_jax.mixup_criterion, Unhashable(), Z, T, T, 0.5),
        TypeError,
        "criterion",
        "Unhashable",
        "lambda",
    ),
    "a criterion that is none": (
        partial(ood_jax.mixup_criterion, "mean", Z, T, T, 0.5),
        TypeError,
        "criterion",
        "str",
        "function",
    ),
    "a criterion of no array": (
        partial(ood_jax.mixup_criterion, lambda pred, y: {"loss": pred}, Z, T, T, 0.5),
        TypeError,
        "criterion(pred, y_a)",
        "dict",
        "asarray",
    ),
    "temperature an array": (
        partial(free_energy, Z, temperature=jnp.ones(6)),
        ValueError,
        "temperature",
        "(6,)",
        "vmap",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_error_names_the_argument_what_came_and_what_to_do(name):
    call, error, argument, came, advice = CASES[name]
    with pytest.raises(error) as raised:
        call()
    message = str(raised.value)
    assert message.startswith(f"`{argument}")
    assert came in message
    assert advice in message


@pytest.mark.parametrize("name", ["groups that do not divide", "class counts that differ", "unknown form"])
def test_errors_come_at_trace_time(name):
    call, error, *_ = CASES[name]
    with pytest.raises(error):
        jax.eval_shape(call)


def test_messages_are_sentences():
    for call, error, *_ in CASES.values():
        with pytest.raises(error) as raised:
            call()
        assert re.fullmatch(r"`.+\.", str(raised.value), re.DOTALL)
