"""A benchmark of every method of the library, beside the same training in PyTorch.

`python -m examples.benchmark` trains a small residual network on six classes of Fashion-MNIST and of scikit-learn's
digits, with each method and several seeds, and measures how well each score tells the other four classes (near) and
pictures of other kinds (far) from the six.

    data.py       known, near, far, auxiliary outliers
    recipe.py     batches, learning rates, methods: what both frameworks share
    model.py, jax_training.py   the network and its training, in Flax NNX
    torch_training.py           the twin, with the published losses
    evaluate.py   scores and metrics
    experiment.py one network;  cells.py  the files of the results
    summary.py, plots.py, page.py   from the results to a page
    throughput.py both frameworks' training steps timed in turn
"""
