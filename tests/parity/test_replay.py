import numpy as np
import pytest
import torch

from parity import definitions
from parity.published import load
from parity.replay import Call, ReplayError, cutmix_calls, mixup_calls, replaying

INCERTO = load("incerto")
X, Y = torch.arange(24.0).reshape(2, 3, 2, 2), torch.tensor([3, 4])
PARTNER = np.array([1, 0])


def test_the_function_itself_runs_on_the_injected_draw():
    with replaying(mixup_calls(0.25, PARTNER, alpha=0.4)):
        mixed, _, y_b, lam = INCERTO.mixup_data(X, Y, 0.4)
    assert lam == 0.25
    assert y_b.tolist() == [4, 3]
    assert torch.equal(mixed, 0.25 * X + 0.75 * X[[1, 0]])


@pytest.mark.parametrize(
    "calls",
    [
        mixup_calls(0.25, PARTNER, alpha=0.5),
        mixup_calls(0.25, np.arange(3), alpha=0.4),
        mixup_calls(0.25, PARTNER, alpha=0.4)[:1],
        mixup_calls(0.25, PARTNER, alpha=0.4)[::-1],
        [*mixup_calls(0.25, PARTNER, alpha=0.4), Call("randint", (2,), 0)],
    ],
    ids=["another alpha", "another size", "a draw too many", "another order", "a draw too few"],
)
def test_a_function_that_draws_otherwise_is_an_error(calls):
    with pytest.raises(ReplayError), replaying(calls):
        definitions.mixup_data(X, Y, 0.4)


def test_swapped_height_and_width_are_an_error():
    x = torch.zeros(2, 1, 4, 6)
    with replaying(cutmix_calls(0.5, PARTNER, (1, 5), (4, 6), alpha=1.0)):
        definitions.CutMix()(x, Y)
    with pytest.raises(ReplayError), replaying(cutmix_calls(0.5, PARTNER, (1, 3), (6, 4), alpha=1.0)):
        definitions.CutMix()(x, Y)


def test_the_generators_are_restored():
    originals = np.random.beta, np.random.randint, torch.randperm
    with pytest.raises(ZeroDivisionError), replaying([]):
        raise ZeroDivisionError
    assert (np.random.beta, np.random.randint, torch.randperm) == originals
