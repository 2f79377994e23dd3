"""The same five as an installed library publishes them: incerto 0.1.1.

Its mixing is the definitions'. Two of its losses have changed since: outlier exposure is the cross entropy with the
uniform distribution (our form "cross_entropy"), and the energy hinge is on the mean energies (our form "mean").
"""

from importlib.metadata import version

try:
    from incerto.ood.training import CutMix as CutMix
    from incerto.ood.training import EnergyRegularizedLoss as EnergyRegularizedLoss
    from incerto.ood.training import OutlierExposureLoss as OutlierExposureLoss
    from incerto.ood.training import mixup_criterion as mixup_criterion
    from incerto.ood.training import mixup_data as mixup_data
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "parity compares with incerto, which is not installed; install it with `pip install 'ood-jax[parity]'`."
    ) from error

INCERTO_VERSION = version("incerto")
