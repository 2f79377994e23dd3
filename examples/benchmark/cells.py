"""A cell is one network: a data set, a method, a framework, a seed.

Two files hold it, each written when its part is done: the trained weights, and what was measured with them. So a killed
run loses the network it was training and no more, and a new score needs no new training. Each says of which recipe it
is, so that two are never mixed.

Processes may share a folder if each has seeds, methods or a framework of its own; nothing keeps two from training the
same cell.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..fashion import Refused
from .evaluate import Row
from .model import Weights
from .recipe import METHODS


class Cell(NamedTuple):
    dataset: str
    method: str
    framework: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.method}-{self.framework}-{self.seed}"

    @property
    def baseline(self) -> "Cell":
        return self._replace(method="baseline")


class Training(NamedTuple):
    """How a cell was trained.

    Attributes:
      fingerprint: of the recipe.
      losses: the training loss now and then.
    """

    fingerprint: str
    losses: Sequence[float]


def cells(
    datasets: Iterable[str], methods: Iterable[str], frameworks: Iterable[str], seeds: Iterable[int]
) -> Iterator[Cell]:
    """In the order to run them: a seed at a time, so that a run cut short has whole seeds, and each baseline first."""
    wanted = list(methods)
    if any(needs_baseline(method) for method in wanted):
        wanted = ["baseline", *(method for method in wanted if method != "baseline")]
    frameworks, datasets = list(frameworks), list(datasets)
    for seed in seeds:
        for dataset in datasets:
            for method in wanted:
                for framework in frameworks:
                    yield Cell(dataset, method, framework, seed)


def needs_baseline(method: str) -> bool:
    """Fine-tuning starts from the baseline, and the bounds of the energies are calibrated on it."""
    return METHODS[method].fine_tuned or METHODS[method].loss == "energy-bounded"


def save_trained(out: Path, cell: Cell, weights: Weights, training: Training) -> None:
    _path(out, "measured", cell, "json").unlink(missing_ok=True)  # of other weights
    with replaced(_path(out, "weights", cell, "npz")) as path, path.open("wb") as file:
        np.savez(file, allow_pickle=False, **weights)
    _save(_path(out, "training", cell, "json"), {"cell": cell._asdict(), **training._asdict()})


def is_trained(out: Path, cell: Cell) -> bool:
    return _path(out, "training", cell, "json").exists()


def check_recipes(out: Path, fingerprint: Callable[[Cell], str]) -> None:
    """Refuses a folder with networks of another recipe than the wanted one."""
    for path in sorted((out / "training").glob("*.json")):
        contents = json.loads(path.read_text(encoding="utf-8"))
        if contents["fingerprint"] != fingerprint(Cell(**contents["cell"])):
            raise Refused(f"{path} is of another recipe; choose another --out, or remove {out}")


def load_weights(out: Path, cell: Cell) -> Weights:
    try:
        with np.load(_path(out, "weights", cell, "npz")) as file:
            return dict(file)
    except FileNotFoundError:
        raise Refused(f"{cell.name} is not trained, and it is needed") from None


def save_rows(out: Path, cell: Cell, fingerprint: str, rows: Sequence[Row]) -> None:
    contents = {"cell": cell._asdict(), "fingerprint": fingerprint, "rows": [row._asdict() for row in rows]}
    _save(_path(out, "measured", cell, "json"), contents)


def is_measured(out: Path, cell: Cell, fingerprint: str) -> bool:
    """Whether it was measured, and as it would be now."""
    try:
        return json.loads(_path(out, "measured", cell, "json").read_text("utf-8"))["fingerprint"] == fingerprint
    except FileNotFoundError:
        return False


def load_all_rows(out: Path) -> dict[Cell, list[Row]]:
    """What was measured, of every cell in the folder."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((out / "measured").glob("*.json"))]
    return {Cell(**content["cell"]): [Row(**row) for row in content["rows"]] for content in contents}


def _save(path: Path, contents: Any) -> None:
    with replaced(path) as partial:
        partial.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of the old one when all of it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    yield partial
    os.replace(partial, path)


def _path(out: Path, folder: str, cell: Cell, suffix: str) -> Path:
    return out / folder / f"{cell.name}.{suffix}"
