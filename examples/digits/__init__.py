"""Five ways to train a small classifier, and how well each one then notices what it has never seen.

    python -m examples.digits

A Flax NNX network learns six of scikit-learn's ten handwritten digits. At test time it also meets the other four
(near-OOD) and patches of a photograph (far-OOD), and should be unsure of both. Read the files in this order:

- `methods.py`: the five losses, each a call or two into `ood_jax`
- `train.py`: a jitted training step with donated state
- `data.py`, `model.py`: what is learnt from, and by what
- `evaluate.py`: accuracy, AUROC and FPR95
- `experiment.py`, `cli.py`, `report.py`, `plots.py`: the loop over splits and methods, and what it prints and saves

`examples.linen` trains the same with Flax Linen. Every method keeps the defaults of `ood_jax`, which are those
of its definition. Network, optimizer and number of steps are one choice for all five, made for time among a few that
rank the methods alike.
"""
