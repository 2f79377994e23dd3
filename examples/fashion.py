"""Fashion-MNIST: where its four files may be, whether they are the right ones, and how to read them.

Han Xiao, Kashif Rasul, Roland Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", 2017: 60,000 training and 10,000 test images, 28 by 28 grey values, ten classes of clothing.
"""

import argparse
import gzip
import hashlib
import os
import tempfile
import urllib.request
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Where Debian's package dataset-fashion-mnist puts the files.
PACKAGED = Path("/usr/share/datasets/fashion-mnist")
DOWNLOADED = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ood_jax/fashion-mnist"
# As the data set's authors publish it.
ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"

# SHA-256 of the contents, not of the files: one compressor's output differs from another's.
CONTENTS = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
ADVICE = (
    "install Debian's package dataset-fashion-mnist, name a folder that holds "
    f"{', '.join(CONTENTS)}, or run `python -m examples.benchmark --download` once"
)


class Refused(Exception):  # noqa: N818
    """The data cannot be had, or are not what they should be; the message says what to do."""


class Labelled(NamedTuple):
    """Images (N, 28, 28, 1) in [0, 1], float32, and classes (N,) from 0 to 9, int32."""

    x: np.ndarray
    y: np.ndarray


def find(folder: Path | None = None, *, download: bool = False) -> Path:
    """The folder with the four files: the one named, else the package's, else the one downloaded to."""
    if folder is not None:
        if missing := _missing(folder):
            raise Refused(f"{folder} lacks {', '.join(missing)}; {ADVICE}")
        return folder
    for known in (PACKAGED, DOWNLOADED):
        if not _missing(known):
            return known
    if not download:
        raise Refused(f"Fashion-MNIST is neither in {PACKAGED} nor in {DOWNLOADED}; {ADVICE}")
    _download(DOWNLOADED)
    return DOWNLOADED


def find_or_exit(parser: argparse.ArgumentParser, folder: Path | None, *, download: bool = False) -> Path:
    """For a command line: what is wrong ends it, with exit status 2."""
    try:
        return find(folder, download=download)
    except Refused as error:
        parser.error(str(error))


def read(folder: Path, part: str, *, check: bool = True) -> Labelled:
    """The "train" or the "t10k" part; `check` compares the contents with the published ones."""
    images = _contents(folder / f"{part}-images-idx3-ubyte.gz", check)
    labels = _contents(folder / f"{part}-labels-idx1-ubyte.gz", check)
    # IDX files: a header of 16 bytes before the images, of 8 before the labels.
    x = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return Labelled(x.astype(np.float32) / 255, np.frombuffer(labels, np.uint8, offset=8).astype(np.int32))


def _missing(folder: Path) -> list[str]:
    return [name for name in CONTENTS if not (folder / name).is_file()]


def _contents(path: Path, check: bool) -> bytes:
    try:
        contents = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(f"cannot read {path} ({error}); {ADVICE}") from None
    if check and hashlib.sha256(contents).hexdigest() != CONTENTS[path.name]:
        raise Refused(f"{path} is not Fashion-MNIST's: its SHA-256 differs from the published one's; {ADVICE}")
    return contents


def _download(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in _missing(folder):
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            path = Path(partial) / name
            try:
                urllib.request.urlretrieve(f"{ADDRESS}/{name}", path)
            except OSError as error:
                raise Refused(f"cannot download {name} from {ADDRESS} ({error}); {ADVICE}") from None
            _contents(path, check=True)
            os.replace(path, folder / name)
