from collections.abc import Sequence

from .cli import run_example
from .train import make_trainer


def main(argv: Sequence[str] | None = None) -> None:
    run_example(argv, prog="python -m examples.digits", title="Flax NNX", make_trainer=make_trainer, splits=5)


if __name__ == "__main__":
    main()
