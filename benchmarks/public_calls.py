"""A call of every public function, of representative sizes: images (32, 32, 32, 3), logits (128, 10), features
(256, 64), a thousand scores a side.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import ood_jax
from ood_jax import metrics, scores

from .plain_losses import mean_cross_entropy

MODULES = (ood_jax, scores, metrics)


class Call(NamedTuple):
    function: Any
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]

    def run(self) -> Any:
        return jax.block_until_ready(self.function(*self.arguments, **self.options))


def public_names() -> Iterator[str]:
    """Every public function, as `ood_jax.metrics.auroc`."""
    for module in MODULES:
        for name, value in vars(module).items():
            if not name.startswith("_") and callable(value) and not isinstance(value, type):
                yield f"{module.__name__}.{name}"


def check_complete() -> None:
    """An error if a public function has no call here, or a call no function."""
    public, called = set(public_names()), set(CALLS)
    if public != called:
        raise LookupError(
            f"benchmarks/public_calls.py must call every public function; it lacks {sorted(public - called)} and has "
            f"{sorted(called - public)}, which are none."
        )


def call(name: str) -> Call:
    """The call of a public function; states that it takes are fitted here."""
    module, _, function = name.rpartition(".")
    arguments = CALLS[name]()
    options = arguments[-1] if arguments and isinstance(arguments[-1], dict) else {}
    positional = arguments[:-1] if options else arguments
    return Call(getattr({each.__name__: each for each in MODULES}[module], function), positional, options)


def _random(*shape: int) -> Any:
    # NumPy's, for to make arrays of them is part of a first call.
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _labels(n: int) -> Any:
    return np.arange(n) % 10


IMAGES, LOGITS, FEATURES, KERNEL = _random(32, 32, 32, 3), _random(128, 10), _random(256, 64), _random(64, 10)
LAM, LABELS = np.float32(0.3), _labels(128)
SIDES = _random(1000), _random(1000) + np.float32(1)
BIAS: Any = np.zeros(10, np.float32)
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)


def _key() -> jax.Array:
    return jax.random.key(0)


def _network(x: jax.Array) -> jax.Array:
    return x @ jnp.asarray(KERNEL)


def _mahalanobis() -> scores.MahalanobisState:
    return scores.fit_mahalanobis(FEATURES, _labels(256), num_classes=10)


def _vim() -> scores.VimState:
    return scores.fit_vim(FEATURES, KERNEL, BIAS, dim=16)


def _histogram() -> metrics.ScoreHistogram:
    return metrics.score_histogram(*SIDES, low=-4.0, high=5.0)


# Positional arguments, and keyword arguments in a last dictionary.
CALLS: Mapping[str, Callable[[], tuple[Any, ...]]] = {
    "ood_jax.apply_cutmix": lambda: (ood_jax.draw_cutmix(_key(), 32, (32, 32)), IMAGES, _labels(32)),
    "ood_jax.apply_mixup": lambda: (ood_jax.draw_mixup(_key(), 32), IMAGES, _labels(32)),
    "ood_jax.calibrate_margins": lambda: (LOGITS, LOGITS),
    "ood_jax.cutmix": lambda: (_key(), IMAGES, _labels(32)),
    "ood_jax.cutmix_box": lambda: (LAM, (np.int32(3), np.int32(4)), (32, 32)),
    "ood_jax.draw_cutmix": lambda: (_key(), 32, (32, 32)),
    "ood_jax.draw_mixup": lambda: (_key(), 32),
    "ood_jax.energy_bounded_loss": lambda: (LOGITS, LABELS, LOGITS),
    "ood_jax.energy_regularized_loss": lambda: (LOGITS, LABELS, LOGITS),
    "ood_jax.free_energy": lambda: (LOGITS,),
    "ood_jax.kornia_box": lambda: (LAM, (np.float32(0.3), np.float32(0.4)), (32, 32)),
    "ood_jax.mixup": lambda: (_key(), IMAGES, _labels(32)),
    "ood_jax.mixup_criterion": lambda: (mean_cross_entropy, LOGITS, LABELS, LABELS[::-1], LAM),
    "ood_jax.mixup_cross_entropy": lambda: (LOGITS, LABELS, LABELS[::-1], LAM),
    "ood_jax.outlier_exposure_loss": lambda: (LOGITS, LABELS, LOGITS),
    "ood_jax.soft_targets": lambda: (ood_jax.mixup(_key(), IMAGES, _labels(32)), 10),
    "ood_jax.symmetric_beta": lambda: (_key(), np.float32(0.3), (1000,)),
    "ood_jax.timm_box": lambda: (LAM, (np.int32(3), np.int32(4)), (32, 32)),
    "ood_jax.scores.ash_features": lambda: (FEATURES,),
    "ood_jax.scores.energy_score": lambda: (LOGITS,),
    "ood_jax.scores.entropy_score": lambda: (LOGITS,),
    "ood_jax.scores.fit_knn": lambda: (FEATURES,),
    "ood_jax.scores.fit_mahalanobis": lambda: (FEATURES, _labels(256), {"num_classes": 10}),
    "ood_jax.scores.fit_react": lambda: (FEATURES,),
    "ood_jax.scores.fit_vim": lambda: (FEATURES, KERNEL, BIAS, {"dim": 16}),
    "ood_jax.scores.fit_vim_subspace": lambda: (_mahalanobis(), KERNEL, BIAS, {"dim": 16}),
    "ood_jax.scores.gen_score": lambda: (LOGITS,),
    "ood_jax.scores.kl_uniform_score": lambda: (LOGITS,),
    "ood_jax.scores.knn_score": lambda: (scores.fit_knn(FEATURES), FEATURES, {"k": 10}),
    "ood_jax.scores.mahalanobis_score": lambda: (_mahalanobis(), FEATURES),
    "ood_jax.scores.max_logit_score": lambda: (LOGITS,),
    "ood_jax.scores.merge": lambda: (_mahalanobis(), _mahalanobis()),
    "ood_jax.scores.msp_score": lambda: (LOGITS,),
    "ood_jax.scores.odin_score": lambda: (_network, FEATURES),
    "ood_jax.scores.react_features": lambda: (scores.fit_react(FEATURES), FEATURES),
    "ood_jax.scores.relative_mahalanobis_score": lambda: (_mahalanobis(), FEATURES),
    "ood_jax.scores.scale_features": lambda: (FEATURES,),
    "ood_jax.scores.update": lambda: (_mahalanobis(), FEATURES, _labels(256)),
    "ood_jax.scores.vim_score": lambda: (_vim(), FEATURES),
    "ood_jax.metrics.adaptive_expected_calibration_error": lambda: (PROBABILITIES, LABELS),
    "ood_jax.metrics.aupr": lambda: SIDES,
    "ood_jax.metrics.auroc": lambda: SIDES,
    "ood_jax.metrics.brier_score": lambda: (PROBABILITIES, LABELS),
    "ood_jax.metrics.ccr_at_fpr": lambda: (SIDES[0], SIDES[0] > 0, SIDES[1]),
    "ood_jax.metrics.detection_error": lambda: SIDES,
    "ood_jax.metrics.expected_calibration_error": lambda: (PROBABILITIES, LABELS),
    "ood_jax.metrics.fpr_at_tpr": lambda: SIDES,
    "ood_jax.metrics.histogram_metrics": lambda: (_histogram(),),
    "ood_jax.metrics.merge_histograms": lambda: (_histogram(), _histogram()),
    "ood_jax.metrics.ood_metrics": lambda: SIDES,
    "ood_jax.metrics.oscr": lambda: (SIDES[0], SIDES[0] > 0, SIDES[1]),
    "ood_jax.metrics.score_histogram": lambda: (*SIDES, {"low": -4.0, "high": 5.0}),
}
