"""Worked examples; each one runs from the repository's root: `python -m examples.digits`."""
