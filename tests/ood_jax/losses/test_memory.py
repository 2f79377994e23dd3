"""What the losses and their gradients keep on CPU beside arguments and results: nothing as large as the logits."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

import ood_jax

N, K = 256, 1000  # enough for plain sums: of fewer logits class probabilities keep two matrices
LOGITS, LABELS = jax.ShapeDtypeStruct((N, K), jnp.float32), jax.ShapeDtypeStruct((N,), jnp.int32)
LAM = jax.ShapeDtypeStruct((), jnp.float32)
outlier_exposure, energy = ood_jax.outlier_exposure_loss, ood_jax.energy_regularized_loss


@pytest.mark.parametrize(
    ("loss", "arguments", "by"),
    [
        pytest.param(outlier_exposure, (LOGITS, LABELS, LOGITS), (0, 2), id="outlier exposure"),
        pytest.param(
            partial(outlier_exposure, form="cross_entropy"),
            (LOGITS, LABELS, LOGITS),
            (0, 2),
            id="outlier exposure, cross entropy",
        ),
        pytest.param(outlier_exposure, (LOGITS, LOGITS, LOGITS), (0, 2), id="outlier exposure, class probabilities"),
        pytest.param(energy, (LOGITS, LABELS, LOGITS), (0, 2), id="energy"),
        pytest.param(ood_jax.mixup_cross_entropy, (LOGITS, LABELS, LABELS, LAM), 0, id="mixup"),
        pytest.param(lambda logits: ood_jax.free_energy(logits).sum(), (LOGITS,), 0, id="free energy"),
    ],
)
def test_no_matrix_is_kept(loss, arguments, by):
    program = jax.jit(jax.value_and_grad(loss, argnums=by)).lower(*arguments).compile()
    assert program.memory_analysis().temp_size_in_bytes < N * K * 4 / 10
