from collections.abc import Sequence

from ..digits.cli import run_example
from .train import make_trainer


def main(argv: Sequence[str] | None = None) -> None:
    run_example(argv, prog="python -m examples.linen", title="Flax Linen", make_trainer=make_trainer, splits=2)


if __name__ == "__main__":
    main()
