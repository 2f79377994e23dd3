"""Detectors fitted on features beside incerto's and pytorch-ood's, on Gaussian classes.

`theirs` undoes a sign, a factor or a constant, and `ours` is given what a library does to the features or the
covariance. docs/scores.md has the list. The truth is each formula in float64.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

import ood_jax.scores as scores

from ..agreement import Result, compared
from ..convert import to_numpy, to_torch
from ..tolerances import ulps
from ._case import Array, Case, case, random
from .scores import detectors_of, energy

CLASSES, UNITS, ROWS = 5, 16, 400
DRAWS = 20
KEPT = 9  # half of the units vary more than the others, and the mean is far from the origin in all


def detector_cases() -> Iterator[Case]:
    """One a detector and source."""
    for name, detector in DETECTORS.items():
        yield case(f"{name} float32", detector.source, compare_features, detector)


class Features(NamedTuple):
    """Training features with labels, queries, and a last layer."""

    train: Any
    labels: Any
    queries: Any
    kernel: Any
    bias: Any


class Detector(NamedTuple):
    """A detector of ours and a source's, each from features to scores or features; and the truth, where there is one.

    Attributes:
      source: who publishes it.
      ours: features -> array.
      theirs: the same, in our terms.
      truth: the same, from float64 features.
      tolerance: in ulps, of the largest entry.
      term: features -> array, what the score is a difference of, if it is one: it carries that one's rounding.
    """

    source: str
    ours: Callable[[Features], jax.Array]
    theirs: Callable[[Features], torch.Tensor]
    truth: Callable[[Features], Array] | None
    tolerance: float
    term: Callable[[Features], Array] | None = None


# A covariance and a form in its inverse or eigenvectors are sums of up to 400 products, which both sides round: the
# root of their number each, times the condition number of these features' covariance, about 10.
LINEAR_ALGEBRA = 10 * 2 * float(np.sqrt(ROWS))


def _features(name: str) -> Features:
    rng = random(name)
    labels = np.r_[np.arange(CLASSES), rng.integers(0, CLASSES, ROWS - CLASSES)]
    means = 3 * rng.random((CLASSES, UNITS))
    spread = np.repeat([1, 2.5], UNITS // 2)
    train = means[labels] + spread * rng.standard_normal((ROWS, UNITS))
    queries = 3 + 2 * spread * rng.standard_normal((20, UNITS))
    last_layer = rng.standard_normal((UNITS + 1, CLASSES))
    arrays = (train, queries, last_layer[:-1], last_layer[-1])
    rounded = [array.astype(np.float32) for array in arrays]
    return Features(rounded[0], labels, *rounded[1:])


def compare_features(name: str, source: str, detector: Detector) -> list[Result]:
    """A detector fitted on 400 rows of five classes, on 20 queries.

    Whose covariance or eigenvectors come out closer is chance, another one on another processor. So the errors compared
    are each side's root mean square over several draws.
    """
    draws = DRAWS if detector.truth is not None else 1
    results = [_on_features(detector, _features(f"{name} {draw}")) for draw in range(draws)]
    furthest = max(results, key=lambda result: result.difference)
    if detector.truth is None:
        return [furthest]
    errors = np.array([(result.error, result.source_error) for result in results], np.float64)
    ours, theirs = np.sqrt(np.mean(errors**2, axis=0)).tolist()
    return [furthest._replace(error=ours, source_error=theirs)]


def _on_features(detector: Detector, features: Features) -> Result:
    ours, theirs = detector.ours(features), to_numpy(detector.theirs(features))
    doubles = Features(*(part.astype(np.float64) if part.dtype == np.float32 else part for part in features))
    exact = None if detector.truth is None else detector.truth(doubles)
    term = 0.0 if detector.term is None else float(np.abs(detector.term(doubles)).max())
    scale = max(float(np.abs(theirs).max()), term)
    return compared("score", ours, theirs, np.float32, detector.tolerance, truth=exact, scale=scale, error_scale=term)


def _fitted(name: str, f: Features, **options: Any) -> Any:
    """A pytorch-ood detector that is fitted on features."""
    made = getattr(detectors_of("pytorch-ood"), name)(None, **options)
    return made.fit_features(to_torch(f.train), to_torch(f.labels))


def _hooked(name: str, f: Features, **options: Any) -> torch.Tensor:
    """An incerto detector fitted on, and scoring, what a model's penultimate layer lets through."""
    head = torch.nn.Linear(UNITS, CLASSES)
    model = torch.nn.Sequential(OrderedDict(penultimate=torch.nn.Identity(), head=head))
    made = getattr(detectors_of("incerto"), name)(model, **options)
    made.fit([(to_torch(f.train), to_torch(f.labels))])
    return made.score(to_torch(f.queries))


def _moments(f: Features, classes: int = CLASSES) -> scores.MahalanobisState:
    labels = f.labels if classes == CLASSES else np.zeros_like(f.labels)
    return scores.fit_mahalanobis(f.train, labels, num_classes=classes)


def _distances(f: Features, residuals: Array, means: Array, number: int) -> Array:
    precision = np.linalg.inv(residuals.T @ residuals / number)
    gaps = f.queries[:, None] - means
    return np.einsum("nkd,de,nke->nk", gaps, precision, gaps)


def _means(f: Features) -> Array:
    return np.stack([f.train[f.labels == label].mean(0) for label in range(CLASSES)])


def _mahalanobis(f: Features) -> Array:
    return _distances(f, f.train - _means(f)[f.labels], _means(f), ROWS).min(-1)


def _relative(f: Features) -> Array:
    mean = f.train.mean(0)
    return _mahalanobis(f) - _distances(f, f.train - mean, mean[None], ROWS)[:, 0]


def _with_total_covariance(f: Features) -> jax.Array:
    """What incerto's is in our terms: the covariance of all rows about one mean, over N - 1."""
    total = _moments(f, classes=1).scatter * ROWS / (ROWS - 1)
    return scores.mahalanobis_score(_moments(f)._replace(scatter=total), f.queries, ridge=1e-6)


def _about_one_mean(f: Features) -> Array:
    return _distances(f, f.train - f.train.mean(0), _means(f), ROWS - 1).min(-1)


def _unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def _on_the_sphere(f: Features) -> Features:
    """Features that are normalised already, where normalising does nothing."""
    return f._replace(train=_unit(f.train), queries=_unit(f.queries))


def _neighbours(f: Features) -> Array:
    gaps = _unit(f.queries)[:, None] - _unit(f.train)
    return np.sort(np.linalg.norm(gaps, axis=-1), axis=-1)[:, 49]


def _knn(f: Features) -> jax.Array:
    return scores.knn_score(scores.fit_knn(f.train), f.queries, k=50, block=128)


def _vim(f: Features) -> Array:
    origin = -np.linalg.pinv(f.kernel.T) @ f.bias
    left = np.linalg.svd(f.train - origin)[2][KEPT:].T
    alpha = (f.train @ f.kernel + f.bias).max(-1).sum() / np.linalg.norm((f.train - origin) @ left, axis=-1).sum()
    residuals = np.linalg.norm((f.queries - origin) @ left, axis=-1)
    return alpha * residuals + energy(f.queries @ f.kernel + f.bias, 1)


def _their_vim(f: Features) -> torch.Tensor:
    return _fitted("ViM", f, d=KEPT, w=to_torch(f.kernel.T.copy()), b=to_torch(f.bias)).predict_features(
        to_torch(f.queries)
    )


def _their_react(f: Features) -> torch.Tensor:
    react = detectors_of("pytorch-ood").ReAct(None, torch.nn.Identity(), detector=torch.nn.Identity())
    react.fit_feature_maps(to_torch(f.train), to_torch(f.labels))
    return react.predict_feature_maps(to_torch(f.queries))


def _shaped(function: Callable[..., torch.Tensor], f: Features) -> torch.Tensor:
    """pytorch-ood's shaping takes feature maps, and a fraction for the percentile."""
    return function(torch.relu(to_torch(f.queries))[..., None, None], 0.65)[..., 0, 0]


def _ash(form: Literal["s", "b", "p"]) -> Detector:
    def theirs(f: Features) -> torch.Tensor:
        return _shaped(detectors_of("pytorch-ood").ASH.variants[f"ash-{form}"], f)

    def ours(f: Features) -> jax.Array:
        return scores.ash_features(jax.nn.relu(f.queries), percentile=65, form=form)

    # A ratio of two sums, and an exponential, which magnifies its rounding as many times as it is large.
    return Detector("pytorch-ood", ours, theirs, None, ulps("exact") if form == "p" else 8 + UNITS)


def _their_scale(f: Features) -> torch.Tensor:
    detectors_of("pytorch-ood")
    from pytorch_ood.detector.scale import scale

    return _shaped(scale, f)


def _network(weights: Any, x: Any) -> Any:
    return x @ weights


def _odin(f: Features) -> jax.Array:
    return scores.odin_score(partial(_network, jnp.asarray(f.kernel)), f.queries, temperature=10, epsilon=0.01)


def _their_odin(source: str, f: Features) -> torch.Tensor:
    # Theirs is minus the largest probability.
    model = torch.nn.Linear(UNITS, CLASSES, bias=False)
    model.weight.data = to_torch(f.kernel.T.copy())
    step = {"incerto": {"epsilon": 0.01}, "pytorch-ood": {"eps": 0.01}}[source]
    made = detectors_of(source).ODIN(model, temperature=10.0, **step)
    score = made.score if source == "incerto" else made
    return 1 + score(to_torch(f.queries)).detach()


DETECTORS: Mapping[str, Detector] = {
    "odin incerto": Detector("incerto", _odin, partial(_their_odin, "incerto"), None, ulps("loss") + UNITS),
    "odin pytorch-ood": Detector("pytorch-ood", _odin, partial(_their_odin, "pytorch-ood"), None, ulps("loss") + UNITS),
    "mahalanobis pytorch-ood": Detector(
        "pytorch-ood",
        lambda f: scores.mahalanobis_score(_moments(f), f.queries, ridge=0.0),
        # Half the distance there, and the scatter itself for the covariance.
        lambda f: 2 * ROWS * _fitted("Mahalanobis", f).predict_features(to_torch(f.queries)),
        _mahalanobis,
        LINEAR_ALGEBRA,
    ),
    "mahalanobis incerto total": Detector(
        "incerto", _with_total_covariance, lambda f: _hooked("Mahalanobis", f), _about_one_mean, LINEAR_ALGEBRA
    ),
    "relative_mahalanobis pytorch-ood": Detector(
        "pytorch-ood",
        lambda f: scores.relative_mahalanobis_score(_moments(f), f.queries, ridge=0.0),
        lambda f: ROWS * _fitted("RMD", f).predict_features(to_torch(f.queries)),
        _relative,
        LINEAR_ALGEBRA,
        _mahalanobis,
    ),
    "knn pytorch-ood": Detector(
        "pytorch-ood",
        _knn,
        lambda f: _fitted("KNN", f, k=50).predict_features(to_torch(f.queries)),
        _neighbours,
        ulps("loss") + UNITS,
    ),
    "knn incerto normalized": Detector(
        "incerto",
        lambda f: _knn(_on_the_sphere(f)),
        lambda f: _hooked("KNN", _on_the_sphere(f), k=50),
        _neighbours,
        ulps("loss") + UNITS,
    ),
    "vim pytorch-ood": Detector(
        "pytorch-ood",
        lambda f: scores.vim_score(scores.fit_vim(f.train, f.kernel, f.bias, dim=KEPT), f.queries),
        _their_vim,
        _vim,
        LINEAR_ALGEBRA,
    ),
    "react pytorch-ood": Detector(
        "pytorch-ood",
        lambda f: scores.react_features(scores.fit_react(f.train), f.queries),
        _their_react,
        None,
        2**23 * 1e-5,  # what a threshold from bins is promised to keep
    ),
    **{f"ash pytorch-ood {form}": _ash(form) for form in ("s", "b", "p")},
    "scale pytorch-ood": Detector(
        "pytorch-ood",
        lambda f: scores.scale_features(jax.nn.relu(f.queries), percentile=65),
        _their_scale,
        None,
        8 + UNITS,
    ),
}
