"""Pictures that a row names by a path: found beside the row's file, in the folder or in a tar file there, and never outside of it."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

from luthier.core.errors import InputError, RowError, UnsafeFile
from luthier.core.images import MOST_BYTES
from luthier.store import files

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
ARCHIVES = ("images.tar",)
"""Beside the rows: a folder's pictures in one file, not compressed, so that any of them is found at once."""


def named(value: object) -> bool:
    """Whether a cell names a picture, by the end of its path (or address)."""
    if not isinstance(value, str) or len(value) > 2048 or "\n" in value:
        return False
    return value.strip().split("?")[0].lower().endswith(SUFFIXES)


def address(value: str) -> bool:
    """Whether a cell is an address of the network."""
    return "://" in value[:12]


class Pictures:
    """The pictures in a folder. Whoever made it closes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._archives = [_opened(folder / name) for name in ARCHIVES if (folder / name).is_file()]
        self._members = {one.name.removeprefix("./"): (tar, one) for tar in self._archives for one in tar if one.isfile()}

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        for tar in self._archives:
            tar.close()

    def of(self, values: Mapping[str, object], field: str) -> bytes:
        """The picture that a row names in ``field``; raises ``RowError`` as ``read`` does, and where none is named."""
        value = values.get(field)
        if not isinstance(value, str) or not value.strip():
            raise RowError(field, "is missing or empty", "name the picture of the row")
        return self.read(value, field)

    def read(self, name: str, field: str) -> bytes:
        """The bytes of a picture; raises ``RowError`` for an address, for a path that leaves the folder, and where nothing is."""
        name = name.strip()
        if address(name):
            raise RowError(field, f"is an address ({name[:60]}), and nothing is fetched", "download the pictures and give their paths")
        if name in self._members:
            tar, member = self._members[name]
            _check_size(member.size, name, field)
            handle = tar.extractfile(member)
            return handle.read() if handle else b""
        try:
            path = files.inside(self.folder, name)
            _check_size(path.stat().st_size, name, field)
            return path.read_bytes()
        except UnsafeFile:
            raise RowError(field, f"{name!r} leaves the folder of its file", "put the pictures beside the file or below it") from None
        except (OSError, ValueError):
            raise RowError(field, f"there is no picture {name!r} beside the file", "give the path from the file's own folder") from None

    def has(self, name: str) -> bool:
        """Whether ``read`` would find it."""
        try:
            return name.strip() in self._members or files.inside(self.folder, name.strip()).is_file()
        except (UnsafeFile, OSError, ValueError):
            return False


def _opened(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:")
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{path}: not a whole tar file without compression: {error}", "make it again: tar cf images.tar *.jpg") from None


def _check_size(size: int, name: str, field: str) -> None:
    if size > MOST_BYTES:
        raise RowError(field, f"{name!r} has {size:,} bytes, the most is {MOST_BYTES:,}", "make it smaller")
