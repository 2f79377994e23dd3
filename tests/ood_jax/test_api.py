"""The conventions of the public API, by reflection over all of it."""

import doctest
import functools
import importlib
import inspect
import pickle
import pydoc
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import ood_jax

FUNCTIONS = {
    "ood_jax": [
        "apply_cutmix",
        "apply_mixup",
        "calibrate_margins",
        "cutmix",
        "cutmix_box",
        "draw_cutmix",
        "draw_mixup",
        "energy_bounded_loss",
        "energy_regularized_loss",
        "free_energy",
        "kornia_box",
        "mixup",
        "mixup_criterion",
        "mixup_cross_entropy",
        "outlier_exposure_loss",
        "soft_targets",
        "symmetric_beta",
        "timm_box",
    ],
    "ood_jax.scores": [
        "ash_features",
        "energy_score",
        "entropy_score",
        "fit_knn",
        "fit_mahalanobis",
        "fit_react",
        "fit_vim",
        "fit_vim_subspace",
        "gen_score",
        "kl_uniform_score",
        "knn_score",
        "mahalanobis_score",
        "max_logit_score",
        "merge",
        "msp_score",
        "odin_score",
        "react_features",
        "relative_mahalanobis_score",
        "scale_features",
        "update",
        "vim_score",
    ],
    "ood_jax.metrics": [
        "adaptive_expected_calibration_error",
        "aupr",
        "auroc",
        "brier_score",
        "ccr_at_fpr",
        "detection_error",
        "expected_calibration_error",
        "fpr_at_tpr",
        "histogram_metrics",
        "merge_histograms",
        "ood_metrics",
        "oscr",
        "score_histogram",
    ],
}
TUPLES = {
    "ood_jax": ["Box", "CutMixDraw", "Margins", "Mixed", "MixupDraw"],
    "ood_jax.scores": ["KNNState", "MahalanobisState", "ReactState", "VimState"],
    "ood_jax.metrics": ["OODMetrics", "ScoreHistogram"],
}


def named(table):
    return pytest.mark.parametrize(("module", "name"), [(module, name) for module in table for name in table[module]])


def public(module, name):
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", FUNCTIONS)
def test_the_public_names_are_exactly_these(module):
    names = vars(importlib.import_module(module))
    found = {name for name in names if not name.startswith("_") and not inspect.ismodule(names[name])}
    assert found == {*FUNCTIONS[module], *TUPLES[module]}
    modules = {"metrics", "scores"} if module == "ood_jax" else set()
    assert set(importlib.import_module(module).__all__) == found | modules


@pytest.mark.parametrize("module", FUNCTIONS)
def test_help_lists_every_name(module):
    lines = pydoc.plain(pydoc.render_doc(importlib.import_module(module))).splitlines()
    for name in FUNCTIONS[module]:
        assert any(line.startswith(f"    {name}(") for line in lines), name
    for name in TUPLES[module]:
        assert any(line.startswith(f"    class {name}(") for line in lines), name


@named(FUNCTIONS)
def test_help_begins_with_the_signature(module, name):
    function = public(module, name)
    first = next(iter(inspect.signature(function).parameters))
    assert pydoc.plain(pydoc.render_doc(function)).splitlines()[2].startswith(f"{name}({first}: ")


@named(FUNCTIONS)
def test_key_comes_first_and_defaults_are_keyword_only(module, name):
    parameters = list(inspect.signature(public(module, name)).parameters.values())
    if any(parameter.name == "key" for parameter in parameters):
        assert parameters[0].name == "key"
    # A whole input may be absent, and a shape is positional as in jax.random; every option is keyword-only.
    positional = {"logits_out", "shape", "labels"}
    for parameter in parameters:
        if parameter.default is not inspect.Parameter.empty and parameter.name not in positional:
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY


@named(FUNCTIONS)
def test_function_is_jitted(module, name):
    function = public(module, name)
    assert all(callable(getattr(function, method)) for method in ("lower", "trace", "eval_shape", "clear_cache"))


@named(FUNCTIONS)
def test_what_is_made_of_a_function_does_not_lower_as_it(module, name):
    # JAX's transforms wrap what they are given, attributes and all: with this one's `lower` the program of
    # jit(grad(f)) would be that of f.
    made = functools.wraps(public(module, name))(lambda: None)
    assert not hasattr(made, "lower")


def test_the_gradients_program_returns_gradients():
    logits, labels = jnp.zeros((2, 3)), jnp.zeros(2, int)
    for loss in (ood_jax.outlier_exposure_loss, ood_jax.energy_bounded_loss):
        lowered = jax.jit(jax.value_and_grad(loss)).lower(logits, labels)
        assert [info.shape for info in jax.tree.leaves(lowered.out_info)] == [(), (2, 3)]


@named(FUNCTIONS)
def test_function_in_a_class_is_a_method(module, name):
    holder = type("Holder", (), {"function": public(module, name)})
    assert holder.function is public(module, name)
    assert holder().function.__func__ is public(module, name)


@named(FUNCTIONS)
def test_function_is_pickled_by_its_name(module, name):
    assert pickle.loads(pickle.dumps(public(module, name))) is public(module, name)


@named(FUNCTIONS)
def test_docstring_documents_every_argument_and_section(module, name):
    function = public(module, name)
    documentation = inspect.getdoc(function)
    for section in ("Args:", "Returns:", "Raises:", "Example:", "References:"):
        assert section in documentation
    described = documentation[documentation.index("Args:") : documentation.index("Returns:")]
    for parameter in inspect.signature(function).parameters:
        assert f"\n  {parameter}: " in described


@named(TUPLES)
def test_tuple_documents_every_field(module, name):
    cls = public(module, name)
    for field in cls._fields:
        assert field in inspect.getdoc(cls)


@named(FUNCTIONS)
def test_docstring_example_runs_and_calls_the_function(module, name):
    examples = doctest.DocTestFinder(recurse=False).find(public(module, name), name)
    call = f"{module.removeprefix('ood_jax.')}.{name}("
    assert sum(call in example.source for test in examples for example in test.examples) >= 1
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # as a newcomer runs them
        for test in examples:
            assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("module", ["ood_jax", "ood_jax.mixing", "ood_jax.losses", "ood_jax.scores", "ood_jax.metrics"])
def test_module_examples_run(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_importing_the_library_imports_neither_flax_nor_torch():
    probe = "import sys, ood_jax; sys.exit(bool({'flax', 'torch', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", probe], check=True)


@pytest.mark.parametrize("name", ["metrics", "scores"])
def test_evaluation_is_imported_when_it_is_asked_for(name):
    probe = (
        f"import sys, ood_jax; early = 'ood_jax.{name}' in sys.modules; listed = '{name}' in dir(ood_jax); "
        f"sys.exit(early or not listed or ood_jax.{name} is not sys.modules['ood_jax.{name}'])"
    )
    subprocess.run([sys.executable, "-c", probe], check=True)


def test_a_name_that_is_not_there_is_told():
    with pytest.raises(AttributeError, match="module 'ood_jax' has no attribute 'cut_mix'"):
        _ = ood_jax.cut_mix


def test_mixed_unpacks_in_the_definitions_order():
    assert ood_jax.Mixed._fields == ("x", "y_a", "y_b", "lam")
