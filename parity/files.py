"""Files that are written whole or not at all."""

import errno
import os
from pathlib import Path


def check_writable(file: Path) -> None:
    """Raises OSError if `write` could not write there; to be found out before minutes of work."""
    file = file.resolve()
    if not file.parent.is_dir():
        raise OSError(errno.ENOENT, f"there is no folder {file.parent}")
    if file.exists() and not file.is_file():
        raise OSError(errno.EINVAL, "it is there and is no regular file")
    temporary = _temporary(file)
    temporary.touch(exist_ok=False)
    temporary.unlink()


def write(file: Path, text: str) -> None:
    """Writes the whole file or, whatever happens, leaves it as it was."""
    file = file.resolve()  # so that a link stays one
    temporary = _temporary(file)
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}")  # in the same folder, for a rename is atomic only there
