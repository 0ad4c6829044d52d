"""A file that belongs to an example (a picture): travels as its name, so that rows stay small, and gives its bytes when they are read.

A name follows from the content (``images.Kept``), so the same picture is one file, and an example's id says which picture it shows. A
dataset keeps its attachments in one ``attachments.zip`` beside the rows: not compressed, dates fixed, so that equal content is an equal
file and anybody can open it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from luthier.core.errors import Damaged

ARCHIVE = "attachments.zip"


class Attachment(str):
    """The name; as JSON it is that alone. Made with the bytes, or with the archive that holds them."""

    data: bytes | None
    archive: Path | None

    def __new__(cls, name: str, data: bytes | None = None, archive: Path | None = None) -> Attachment:
        """Neither bytes nor an archive: a name that nothing stands behind (``read`` raises)."""
        made = super().__new__(cls, name)
        made.data, made.archive = data, archive
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Copies keep what stands behind the name."""
        return str(self), self.data, self.archive

    def read(self) -> bytes:
        """The bytes; raises ``Damaged`` where the archive has none of that name."""
        if self.data is not None:
            return self.data
        if self.archive is None:
            raise Damaged(f"{self}: the file that an example names is missing", "prepare the data again")
        try:
            return _opened(str(self.archive), *_stamp(self.archive)).read(str(self))
        except (KeyError, OSError, zipfile.BadZipFile) as error:
            raise Damaged(f"{self.archive}: {self} cannot be read: {error}", "prepare the data again") from None


def attachments_of(inputs: Mapping[str, Any]) -> dict[str, Attachment]:
    """An example's attachments by the name of the input."""
    return {name: value for name, value in inputs.items() if isinstance(value, Attachment)}


def names_in(archive: Path) -> frozenset[str]:
    """The names in an archive; raises ``Damaged``."""
    try:
        return frozenset(_opened(str(archive), *_stamp(archive)).namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise Damaged(f"{archive}: not a whole archive: {error}", "prepare the data again") from None


def _stamp(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


@lru_cache(maxsize=8)
def _opened(path: str, changed_ns: int, size_bytes: int) -> zipfile.ZipFile:
    """Opened once a process as long as the file stays as it is; reading is safe from several threads."""
    return zipfile.ZipFile(path)
