import gzip
import hashlib

import numpy as np
import pytest

from examples import fashion

CONTENTS = {
    name: bytes(16 if "images" in name else 8) + bytes([7]) * (784 if "images" in name else 1)
    for name in fashion.CONTENTS
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four files of one image each, taken for the published ones."""
    published = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    monkeypatch.setattr(fashion, "CONTENTS", published)
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(gzip.compress(content))
    return tmp_path


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion, "PACKAGED", tmp_path / "no package")
    monkeypatch.setattr(fashion, "DOWNLOADED", tmp_path / "downloaded")


def test_reads_pixels_as_shares_of_255(folder):
    images, labels = fashion.read(folder, "train")
    np.testing.assert_array_equal(images, np.full((1, 28, 28, 1), np.float32(7) / 255))
    np.testing.assert_array_equal(labels, [7])


def test_refuses_contents_that_are_not_the_published_ones(folder):
    name = "t10k-images-idx3-ubyte.gz"
    (folder / name).write_bytes(gzip.compress(CONTENTS[name][:-1] + b"\0"))
    fashion.read(folder, "train")
    with pytest.raises(fashion.Refused, match=f"{name} is not Fashion-MNIST's.*install Debian's package"):
        fashion.read(folder, "t10k")


def test_refuses_a_file_cut_short(folder):
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(fashion.Refused, match=r"cannot read .*train-labels"):
        fashion.read(folder, "train")


def test_refuses_a_file_that_is_damaged(folder):
    path = folder / "train-images-idx3-ubyte.gz"
    damaged = bytearray(path.read_bytes())
    damaged[15:25] = b"\xff" * 10
    path.write_bytes(damaged)
    with pytest.raises(fashion.Refused, match=r"cannot read .*train-images"):
        fashion.read(folder, "train")


def test_names_what_a_folder_lacks(folder, nowhere):
    (folder / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(fashion.Refused, match=r"lacks train-images-idx3-ubyte\.gz; install Debian's package"):
        fashion.find(folder)


def test_says_where_it_looked(nowhere):
    with pytest.raises(fashion.Refused, match=r"neither in .*no package nor in .*downloaded; install"):
        fashion.find()


def test_a_named_folder_comes_first(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fashion, "PACKAGED", folder)
    assert fashion.find() == folder
    with pytest.raises(fashion.Refused, match="elsewhere lacks"):
        fashion.find(tmp_path / "elsewhere")


def test_downloads_once_and_checks(folder, nowhere, monkeypatch):
    monkeypatch.setattr(fashion, "ADDRESS", folder.as_uri())
    found = fashion.find(download=True)
    assert fashion.read(found, "train").y == [7]
    monkeypatch.setattr(fashion, "ADDRESS", "file:///nowhere")
    assert fashion.find(download=True) == found


@pytest.mark.parametrize("wrong", [gzip.compress(b"something else"), b"no gzip"], ids=["another file", "no gzip"])
def test_keeps_no_download_that_is_wrong(folder, nowhere, monkeypatch, wrong):
    monkeypatch.setattr(fashion, "ADDRESS", folder.as_uri())
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(wrong)
    with pytest.raises(fashion.Refused, match="train-labels"):
        fashion.find(download=True)
    assert [path.name for path in fashion.DOWNLOADED.iterdir()] == ["train-images-idx3-ubyte.gz"]


def test_says_what_cannot_be_downloaded(nowhere, monkeypatch):
    monkeypatch.setattr(fashion, "ADDRESS", "file:///nowhere")
    with pytest.raises(fashion.Refused, match=r"cannot download train-images-idx3-ubyte\.gz from file:///nowhere"):
        fashion.find(download=True)
