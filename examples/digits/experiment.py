"""The loop: for each random split, train a network with each method and score it on the test images.

One key decides everything: run key -> fold in the split -> fold in the step. The methods of a split share their keys,
so they start from the same weights and see the same batches, and differ in the method alone.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from .data import Split, load_split
from .evaluate import SCORES, Outcome, Scored
from .train import State, Trainer

# Called when a network's training starts and now and then during it, with the method, the number of its split, the
# steps done since the last call, and the loss, which is None at the start.
Report = Callable[[str, int, int, float | None], None]

# Reading the loss waits for the step to finish, so it is not read at every step.
REPORT_EVERY = 20


def run(
    trainers: Mapping[str, Trainer], *, seed: int, splits: int, steps: int, report: Report
) -> dict[str, list[Outcome]]:
    run_key = jax.random.key(seed)
    outcomes: dict[str, list[Outcome]] = {name: [] for name in trainers}
    for number in range(splits):
        key_data, key_init, key_steps = jax.random.split(jax.random.fold_in(run_key, number), 3)
        split = load_split(key_data)
        for name, trainer in trainers.items():

            def on_steps(done: int, loss: float, name: str = name, number: int = number) -> None:
                report(name, number, done, loss)

            report(name, number, 0, None)
            state, losses = fit(trainer, trainer.init(key_init), key_steps, split, steps, on_steps)
            outcomes[name].append(score(trainer, state, split, losses))
    return outcomes


def fit(
    trainer: Trainer,
    state: State,
    key: jax.Array,
    split: Split,
    steps: int,
    on_steps: Callable[[int, float], None] = lambda done, loss: None,
) -> tuple[State, np.ndarray]:
    """Trains for some steps; gives the new state and the loss at each step."""
    losses = []
    for start in range(0, steps, REPORT_EVERY):
        count = min(REPORT_EVERY, steps - start)
        for _ in range(count):
            state, loss = trainer.step(state, key, split.train)
            losses.append(loss)
        on_steps(count, float(loss))
    return state, np.array([float(loss) for loss in losses])


def score(trainer: Trainer, state: State, split: Split, losses: np.ndarray) -> Outcome:
    images = (split.x_test, split.near, split.far)
    logits = trainer.predict(state.params, jnp.concatenate(images))
    ends = np.cumsum([len(part) for part in images])[:-1]
    accuracy = jnp.mean(logits[: ends[0]].argmax(axis=-1) == split.y_test)
    scores = {name: Scored(*np.split(np.asarray(function(logits)), ends)) for name, function in SCORES.items()}
    return Outcome(float(accuracy), scores, losses)
