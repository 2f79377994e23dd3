"""Runs every case and prints a line each; exits with 1 if any disagrees."""

import sys

import jax
import torch

import ood_jax

from .agreement import Agreement
from .cases import cases
from .published import INCERTO_VERSION


def main() -> int:
    """Runs the report."""
    print(
        f"ood_jax {ood_jax.__version__}, jax {jax.__version__} on {jax.default_backend()}, torch {torch.__version__}, "
        f"incerto {INCERTO_VERSION}"
    )
    print("largest over each case's results, in ulps: ours from the source, our error, the source's error\n")
    print(f"{'case':<58}{'apart':>9}{'ours':>10}{'source':>10}")
    total = disagreeing = 0
    for case in cases():
        agreements = case.run()
        agrees = all(agreement.agrees for agreement in agreements)
        print(f"{case.name:<58}{_figures(agreements)}  {'agrees' if agrees else 'DISAGREES'}")
        for agreement in agreements:
            if not agreement.agrees:
                print(f"    {agreement}")
        total += 1
        disagreeing += not agrees
    print(f"\n{total - disagreeing} of {total} cases agree")
    return 1 if disagreeing else 0


def _figures(agreements: list[Agreement]) -> str:
    apart = max(agreement.difference for agreement in agreements)
    errors = [agreement.error for agreement in agreements if agreement.error is not None]
    source_errors = [agreement.source_error for agreement in agreements if agreement.source_error is not None]
    return f"{apart:9.3g}{_largest(errors):>10}{_largest(source_errors):>10}"


def _largest(errors: list[float]) -> str:
    return f"{max(errors):.3g}" if errors else "-"


if __name__ == "__main__":
    sys.exit(main())
