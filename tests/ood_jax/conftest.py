import jax
import pytest


@pytest.fixture(autouse=True)
def strict():
    """No implicit promotion of dtypes or ranks: users who forbid it must be able to use the library too."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield
