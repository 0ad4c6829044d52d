"""Where everything of one team lies: ``.luthier`` in the current folder, or what ``LUTHIER_HOME`` names.

``artifacts/`` whole results; ``work/`` half-finished ones, a folder a job; ``cache/`` what can be made anew;
``luthier.db`` state and journal.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from luthier.core.errors import InputError
from luthier.store import files
from luthier.store.artifacts import Artifacts


class Workspace:
    """The folders and the database of one workspace; makes them when they are not there."""

    def __init__(self, home: str | Path = "") -> None:
        self.home = Path(home or os.environ.get("LUTHIER_HOME", "") or ".luthier").absolute()
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

    @property
    def database(self) -> str:
        """The database's address: ``LUTHIER_DATABASE``, or a SQLite file in the workspace."""
        return os.environ.get("LUTHIER_DATABASE", "") or f"sqlite:///{self.home / 'luthier.db'}"

    def engine(self) -> Any:
        """The SQLAlchemy engine, tables up to date."""
        from luthier.store.database import connect

        return connect(self.database)

    def journal(self) -> Any:
        """The journal."""
        from luthier.store.journal import Journal

        return Journal(self.engine())

    def sweep(self) -> int:
        """Removes what killed writers left; how many things."""
        places = (self.home, self.work, self.cache, self.cache / "features", self.artifacts.root)
        return sum(files.sweep(folder) for folder in places)
