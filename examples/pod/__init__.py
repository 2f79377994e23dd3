"""Data-parallel training on one process or many, that may be killed at any moment and started again.

    python -m examples.pod --out out/pod

The example trains a small Flax NNX network with CutMix and outlier exposure, on JAX's own distributed runtime. The same
command runs on a laptop, on a machine with several GPUs, and on every host of a Cloud TPU pod or in every task of a
SLURM or Open MPI job, where JAX finds the other processes by itself. Anywhere else, say where they meet:

    for i in 0 1; do
        python -m examples.pod --out out/pod --coordinator 127.0.0.1:2345 --processes 2 --process $i &
    done; wait

`--out` is a folder that all processes share. It gets `checkpoints/`, `metrics.jsonl` (a line a step) and, at the end,
`result.json`. What the example promises:

- **Kill it and start it again.** Kill any process at any moment, while it writes a checkpoint too, and give the same
  command again: the run goes on from the newest checkpoint and ends with the same parameters, optimizer state and
  `metrics.jsonl`, bit for bit, as if it had never been killed. (On the same number of processes and the same kind of
  machine. On GPUs that needs XLA's deterministic operations, which the example switches on.)
- **Another number of processes** also goes on: the global batches are equal, the losses to rounding. `--batch` must be
  a multiple of `--groups`, and that of the number of devices, so choose `--groups` with the largest layout in mind.
- **A lost process ends the others**, with exit status 3 and a line that says from where the same command resumes. A
  process that ends is noticed at once, as its connections close; one that falls silent, after `--patience` seconds.
  Ten seconds more and all have ended. `--patience` is also how long they wait for one another at the start.
- **Bad input ends with exit status 2**, before anything is written.
- **A damaged checkpoint** is moved into the folder `damaged/`, never deleted, and the run goes on from the one before
  it; if none can be read, it stops and touches nothing.

Read the files in this order:

- `train.py`: the step, whose key is folded from the run's key and the step's number
- `data.py`: Grain's order of the rows, and the part of it that a process reads;  `model.py`: the network
- `checkpoints.py`: Orbax, writing while training goes on; what is checked when a checkpoint is read
- `runtime.py`: how processes start, agree and end together;  `folder.py`: the folder that they share
- `run.py`: all of it in a row;  `metrics.py`, `cli.py`: what process 0 prints and writes, the options
"""
