"""The conventions of the public API, by reflection over all of it."""

import doctest
import importlib
import inspect
import subprocess
import sys

import jax
import pytest

import ood_jax

FUNCTIONS = [
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
]
TUPLES = ["Box", "CutMixDraw", "Margins", "Mixed", "MixupDraw"]


def test_the_public_names_are_exactly_these():
    submodules = {"losses", "mixing"}
    public = {name for name in vars(ood_jax) if not name.startswith("_")} - submodules
    assert public == set(FUNCTIONS) | set(TUPLES)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_key_comes_first_and_defaults_are_keyword_only(name):
    parameters = list(inspect.signature(getattr(ood_jax, name)).parameters.values())
    if any(parameter.name == "key" for parameter in parameters):
        assert parameters[0].name == "key"
    # A whole input may be absent, and a shape is positional as in jax.random; every option is keyword-only.
    positional = {"logits_out", "shape"}
    for parameter in parameters:
        if parameter.default is not inspect.Parameter.empty and parameter.name not in positional:
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_jitted(name):
    assert hasattr(getattr(ood_jax, name), "lower")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring_documents_every_argument_and_section(name):
    function = getattr(ood_jax, name)
    documentation = inspect.getdoc(function)
    for section in ("Args:", "Returns:", "Raises:", "Example:", "References:"):
        assert section in documentation
    described = documentation[documentation.index("Args:") : documentation.index("Returns:")]
    for parameter in inspect.signature(function).parameters:
        assert f"\n  {parameter}: " in described


@pytest.mark.parametrize("name", TUPLES)
def test_tuple_documents_every_field(name):
    cls = getattr(ood_jax, name)
    for field in cls._fields:
        assert field in inspect.getdoc(cls)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring_example_runs_and_calls_the_function(name):
    examples = doctest.DocTestFinder(recurse=False).find(getattr(ood_jax, name), name)
    assert sum(f"ood_jax.{name}(" in example.source for test in examples for example in test.examples) >= 1
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # as a newcomer runs them
        for test in examples:
            assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("module", ["ood_jax", "ood_jax.mixing", "ood_jax.losses"])
def test_module_examples_run(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_importing_the_library_imports_neither_flax_nor_torch():
    probe = "import sys, ood_jax; sys.exit(bool({'flax', 'torch', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", probe], check=True)


def test_mixed_unpacks_in_the_definitions_order():
    assert ood_jax.Mixed._fields == ("x", "y_a", "y_b", "lam")
