"""The digits example in Flax Linen: the same data, losses, optimizer and results, with a Linen model and its own step.

    python -m examples.linen

`ood_jax` knows nothing of any network library, so only `model.py` and `train.py` differ from `examples.digits`.
"""
