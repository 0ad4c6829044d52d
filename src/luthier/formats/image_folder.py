"""A folder of pictures with ``metadata.jsonl`` (or ``metadata.csv``) beside them, as the hub's ``imagefolder`` has it.

Each row names its picture under ``file_name``; its other columns are the row's. The pictures may also lie in ``images.tar``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from luthier.core.errors import InputError
from luthier.core.ports import BadRow, Row
from luthier.formats._pictures import Pictures
from luthier.formats._rows import converted
from luthier.formats.csv import read_rows
from luthier.formats.jsonl import read_objects

METADATA = ("metadata.jsonl", "metadata.csv")
FILE_NAME = "file_name"


def _metadata(folder: Path) -> Path:
    found = [folder / name for name in METADATA if (folder / name).is_file()]
    if not found:
        raise InputError(f"{folder}: there is no metadata.jsonl", 'write one: {"file_name": "a.jpg", "caption": "..."} a line')
    return found[0]


class ImageFolder:
    """See the module."""

    name = "image-folder"
    summary = "a folder of pictures (or images.tar) with metadata.jsonl or metadata.csv"
    suffixes = ()
    makes = ("image",)

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure of a folder that holds the metadata."""
        return 1.0 if path.is_dir() and any((path / name).is_file() for name in METADATA) else 0.0

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """The metadata's rows, with the picture's bytes under ``image``; a row whose picture is not there is a ``BadRow``."""
        if not path.is_dir():
            raise InputError(f"{path}: is no folder", "name the folder that holds metadata.jsonl")
        metadata = _metadata(path)
        rows = read_objects(metadata, encoding) if metadata.suffix == ".jsonl" else read_rows(metadata, encoding, delimiter)
        with Pictures(path) as pictures:
            for row in rows:
                yield converted(row, lambda values: values | {"image": pictures.of(values, FILE_NAME)})


plugin = ImageFolder()
