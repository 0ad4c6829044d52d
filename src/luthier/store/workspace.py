"""Where everything of one team lies: ``.luthier`` in the current folder, or what ``LUTHIER_HOME`` names.

One server can hold several workspaces that cannot see each other: ``default`` is the folder itself, another one is
``workspaces/{name}`` below it. They share the database (each row says whose it is).

``artifacts/`` whole results; ``work/`` half-finished ones, a folder a job; ``cache/`` what can be made anew;
``luthier.db`` state and journal.
"""

from __future__ import annotations

import os
import re
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.core.errors import InputError
from luthier.store import files
from luthier.store.artifacts import Artifacts

if TYPE_CHECKING:
    from luthier.store.blobs import Blobs

DEFAULT = "default"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")

SWEEP_S = 3600.0
_SWEPT: dict[Path, float] = {}
"""When this process last swept a home."""


def check_name(name: str) -> None:
    """Raises ``InputError`` when a workspace cannot be called so (the name is a folder, and part of addresses)."""
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot name a workspace", "use small letters, digits, '-' and '_', at most 40")


class Workspace:
    """The folders and the database of one workspace; makes them when they are not there."""

    def __init__(self, home: str | Path = "", name: str = DEFAULT) -> None:
        check_name(name)
        self.name = name
        self.root = Path(home or os.environ.get("LUTHIER_HOME", "") or ".luthier").absolute()
        self.home = self.root if name == DEFAULT else self.root / "workspaces" / name
        try:
            for folder in (self.home, self.work, self.cache):
                folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise InputError(f"{self.home}: cannot be a workspace: {error}", "set LUTHIER_HOME to a folder you can write to") from None
        self.artifacts = Artifacts(self.home / "artifacts")

    @property
    def work(self) -> Path:
        """Half-finished jobs."""
        return self.home / "work"

    @property
    def cache(self) -> Path:
        """What can be made anew (features of frozen layers, measurements of the machine)."""
        return self.home / "cache"

    @property
    def samples(self) -> Path:
        """What the server keeps of live traffic for measuring drift (numbers, no texts)."""
        return self.home / "samples"

    @cached_property
    def blobs(self) -> Blobs:
        """The bytes of uploaded files, of all workspaces: at ``LUTHIER_BLOBS`` (a folder, ``abfs://``, ``s3://``) or in ``blobs``."""
        from luthier.store.blobs import Blobs

        return Blobs(os.environ.get("LUTHIER_BLOBS", "") or self.root / "blobs", cache=self.root / "cache" / "blobs")

    @property
    def database(self) -> str:
        """The database's address: ``LUTHIER_DATABASE``, or a SQLite file in the workspace."""
        return os.environ.get("LUTHIER_DATABASE", "") or f"sqlite:///{self.root / 'luthier.db'}"

    def engine(self) -> Any:
        """The SQLAlchemy engine, tables up to date."""
        from luthier.store.database import connect

        return connect(self.database)

    def journal(self) -> Any:
        """The journal."""
        from luthier.store.journal import Journal

        return Journal(self.engine(), self.name)

    def sweep(self) -> int:
        """Removes what killed writers left; how many things."""
        places = (self.home, self.work, self.cache, self.cache / "features", self.root / "cache" / "blobs", self.artifacts.root)
        return sum(files.sweep(folder) for folder in places)

    def sweep_sometimes(self) -> None:
        """The same, once an hour in a process: it looks into every folder of the home, and each job would ask for it."""
        now = time.monotonic()
        if now - _SWEPT.get(self.home, now - SWEEP_S) >= SWEEP_S:
            _SWEPT[self.home] = now
            self.sweep()
