from collections.abc import Sequence

from . import runtime
from .cli import parse
from .run import run


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    with runtime.joined(options):
        run(options)


if __name__ == "__main__":
    main()
