"""The files that belong to a dataset's examples, written once each into its ``attachments.zip`` while the rows are read."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from luthier.core.attachment import ARCHIVE, Attachment, attachments_of, names_in
from luthier.core.types import Example
from luthier.store import files

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file in the archive: the same pictures make the same archive, whenever."""


class Collector(contextlib.ExitStack):
    """Takes the attachments of examples; their archive appears whole in the folder at the end, and without attachments there is none."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._archive: zipfile.ZipFile | None = None
        self._names: set[str] = set()

    def __enter__(self) -> Self:
        """Nothing is opened before the first attachment."""
        return self

    def take(self, inputs: Mapping[str, Any]) -> None:
        """Writes what is new among an example's inputs."""
        for one in attachments_of(inputs).values():
            if one not in self._names:
                self._names.add(str(one))
                self._opened().writestr(zipfile.ZipInfo(str(one), _DATE), one.read())

    def _opened(self) -> zipfile.ZipFile:
        if self._archive is None:
            aside = self.enter_context(files.written_aside(self._folder / ARCHIVE))
            self._archive = self.enter_context(zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED))
        return self._archive


def attached(folder: Path, examples: Iterable[Example]) -> Iterator[Example]:
    """Examples as they were read from JSON, with the names of files in the folder's archive made ``Attachment`` again."""
    archive = folder / ARCHIVE
    known = names_in(archive) if archive.is_file() else frozenset()
    for one in examples:
        there = [name for name, value in one.inputs.items() if isinstance(value, str) and value in known]
        found = {name: Attachment(one.inputs[name], archive=archive) for name in there}
        yield replace(one, inputs={**one.inputs, **found}) if found else one
