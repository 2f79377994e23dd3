"""Speed, as a ratio against the PyTorch definitions in the same run: `python -m benchmarks`."""
