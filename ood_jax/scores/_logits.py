"""Scores of a classifier's logits alone."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from .._api import public
from .._checks import check_logits
from .._sum import accurate_sum
from ..losses._energy import free_energy
from ..losses._terms import widen
from ..losses._uniform import uniform_divergence
from ._softmax import softmax


@public
def msp_score(logits: Float[Array, "*n k"], *, temperature: Real[Array, ""] | float = 1.0) -> Float[Array, "*n"]:
    r"""What the most probable class leaves to the others, $1 - \max_k \mathrm{softmax}_k(z / T)$.

    It is computed as the others' share, $r / (1 + r)$ with $r = \sum_{k \ne \text{top}} \exp((z_k - \max z) / T)$. As a
    difference from 1 it would be 0 for every float32 example whose largest logit leads by 17 or more, and confident
    examples would tie; here they keep their order down to 1e-38.

    Args:
      logits: (..., K), any float dtype; computed in float32 or wider.
      temperature: T > 0. T <= 0 and NaN give NaN. Traced.

    Returns:
      Scores (...) in [0, 1 - 1/K], float32 or wider; higher is more OOD. A row of -inf alone has no softmax: NaN,
      unless K is 1.

    Raises:
      TypeError: `logits` is not floating-point, or `temperature` not real.
      ValueError: `logits` has no class axis, or `temperature` is not a scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> logits = jnp.array([[40.0, 0.0], [20.0, 0.0], [0.0, 0.0]])
      >>> print(ood_jax.scores.msp_score(logits))
      [4.2483541e-18 2.0611537e-09 5.0000000e-01]

    References:
      Dan Hendrycks, Kevin Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
      Networks", ICLR 2017, section 2. With a temperature: Shiyu Liang, Yixuan Li, R. Srikant, "Enhancing The
      Reliability of Out-of-distribution Image Detection in Neural Networks", ICLR 2018, equation 1.
    """
    rest = softmax(logits, temperature).rest[..., 0]
    return rest / (1 + rest)


@public
def max_logit_score(logits: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    r"""The largest logit with its sign turned, $-\max_k z_k$.

    Args:
      logits: (..., K), any float dtype; computed in float32 or wider.

    Returns:
      Scores (...), in units of the logits, float32 or wider; higher is more OOD.

    Raises:
      TypeError: `logits` is not floating-point.
      ValueError: `logits` has no class axis.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> print(ood_jax.scores.max_logit_score(jnp.array([[9.0, 0.0], [1.0, 1.5]])))
      [-9.  -1.5]

    References:
      Dan Hendrycks, Steven Basart, Mantas Mazeika, Andy Zou, Joe Kwon, Mohammadreza Mostajabi, Jacob Steinhardt, Dawn
      Song, "Scaling Out-of-Distribution Detection for Real-World Settings", ICML 2022, section 3.
    """
    check_logits("logits", logits)
    return -widen(jnp.max(logits, axis=-1))


@public
def energy_score(logits: Float[Array, "*n k"], *, temperature: Real[Array, ""] | float = 1.0) -> Float[Array, "*n"]:
    r"""The free energy, $-T \log \sum_k \exp(z_k / T)$: `ood_jax.free_energy`, under the name of a score.

    Args:
      logits: (..., K), any float dtype; computed in float32 or wider.
      temperature: T > 0. T <= 0 and NaN give NaN. Traced.

    Returns:
      Scores (...), in units of the logits, float32 or wider; higher is more OOD.

    Raises:
      TypeError: `logits` is not floating-point, or `temperature` not real.
      ValueError: `logits` has no class axis, or `temperature` is not a scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> print(ood_jax.scores.energy_score(jnp.array([[9.0, 0.0, 0.0], [1.0, 1.0, 1.0]])).round(2))
      [-9.  -2.1]

    References:
      Weitang Liu, Xiaoyun Wang, John D. Owens, Yixuan Li, "Energy-based Out-of-distribution Detection", NeurIPS 2020,
      equation 4.
    """
    return free_energy(logits, temperature=temperature)


@public
def entropy_score(logits: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    r"""The entropy of the softmax in nats, $-\sum_k p_k \log p_k$.

    Each term is p_k times log Σexp(z) - z_k, of which none is negative, so a confident prediction's tiny entropy keeps
    its digits.

    Args:
      logits: (..., K), any float dtype; computed in float32 or wider.

    Returns:
      Scores (...) in [0, log K] up to rounding, in nats, float32 or wider; higher is more OOD. A row of -inf alone has
      no softmax: NaN, unless K is 1.

    Raises:
      TypeError: `logits` is not floating-point.
      ValueError: `logits` has no class axis.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> print(ood_jax.scores.entropy_score(jnp.array([[50.0, 0.0], [0.0, 0.0]])))
      [9.836625e-21 6.931472e-01]

    References:
      Robin Chan, Matthias Rottmann, Hanno Gottschalk, "Entropy Maximization and Meta Classification for
      Out-of-Distribution Detection in Semantic Segmentation", ICCV 2021, equation 5, there over log K.
    """
    parts = softmax(logits)
    shares = parts.shares
    surprise = jnp.log1p(parts.rest) - jnp.where(shares == 0, 0, parts.gaps)  # 0 · ∞ would be NaN
    return accurate_sum(shares * surprise)


@public
def kl_uniform_score(logits: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    r"""How near the softmax is to uniform, $-\mathrm{KL}(u \,\|\, \mathrm{softmax}(z))$, as outlier exposure trains it.

    Args:
      logits: (..., K), any float dtype; computed in float32 or wider.

    Returns:
      Scores (...) no higher than 0, in nats, float32 or wider; higher is more OOD. A class of logit -inf makes it -inf,
      one of +inf NaN, and so do classes that all are -inf.

    Raises:
      TypeError: `logits` is not floating-point.
      ValueError: `logits` has no class axis.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> print(ood_jax.scores.kl_uniform_score(jnp.array([[9.0, 0.0], [1e-3, 0.0]])))
      [-3.806976e+00 -1.250000e-07]

    References:
      Dan Hendrycks, Mantas Mazeika, Thomas Dietterich, "Deep Anomaly Detection with Outlier Exposure", ICLR 2019,
      section 4.3: the term that training lowers for outliers, here the score.
    """
    check_logits("logits", logits)
    return -uniform_divergence(logits, None)
