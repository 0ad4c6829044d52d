"""What one can start from and what was made: catalog, artifacts, datasets, evaluations, runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from luthier.client.connection import OWN, Connection, part

Record = dict[str, Any]
"""One object of the server as JSON."""


class Paged:
    """Objects that come a page at a time, newest first."""

    def __init__(self, connection: Connection, path: str, largest: int = 100) -> None:
        self._connection = connection
        self._path = path
        self._largest = largest

    def list(self, limit: int = 20, after: str = "", **filters: Any) -> Record:
        """A page: ``{object: "list", data, has_more, first_id, last_id}``; ``after`` is the last id of the page before."""
        found: Record = self._connection.get(self._path, limit=limit, after=after, **filters)
        return found

    def all(self, **filters: Any) -> Iterator[Record]:
        """Every object, asked for as it is needed."""
        after = ""
        while True:
            page = self.list(self._largest, after, **filters)
            yield from page["data"]
            if not (page["has_more"] and page["data"]):
                return
            after = page["last_id"]

    def get(self, name: str) -> Record:
        """One object; raises ``UnknownName``."""
        found: Record = self._connection.get(f"{self._path}/{part(name)}")
        return found


class Artifacts(Paged):
    """Artifacts of any kind (``kind=`` filters the list); by id or name."""

    def __init__(self, connection: Connection, path: str = f"{OWN}/artifacts") -> None:
        super().__init__(connection, path)

    def lineage(self, name: str) -> list[Record]:
        """The artifact, its parents, their parents ..."""
        found: list[Record] = self._connection.get(f"{self._path}/{part(name)}/lineage")["data"]
        return found

    def deploy(self, name: str, endpoint: str, *, force: bool = False) -> Record:
        """Makes an endpoint answer with an export (or the newest one of a model); ``force`` overrules a missed bar of the gate."""
        found: Record = self._connection.post(f"{OWN}/artifacts/{part(name)}/deploy", {"endpoint": endpoint, "force": force})
        return found


class Datasets(Artifacts):
    """Datasets; ``get`` has the figures of the report."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, f"{OWN}/datasets")


class Evaluations(Artifacts):
    """Evaluations; ``get`` (also by a model) has every figure."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, f"{OWN}/evaluations")

    def report(self, name: str) -> str:
        """The report as an HTML page."""
        return self._connection.text(f"{self._path}/{part(name)}/report")


class Runs(Paged):
    """Recipes that were run, and their jobs."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, f"{OWN}/runs")


class Catalog:
    """What one can start from, and what the server knows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def models(self, task: str = "", *, usable: bool = False) -> list[Record]:
        """The cards of the models, with what tuning needs and whether that server can use them now."""
        found: list[Record] = self._connection.get(f"{OWN}/catalog/models", task=task, usable=usable)["data"]
        return found

    def model(self, name: str) -> Record:
        """One card by id or alias."""
        found: Record = self._connection.get(f"{OWN}/catalog/models/{part(name)}")
        return found

    def plugins(self) -> dict[str, list[str]]:
        """The names of every plugin by room."""
        found: dict[str, list[str]] = self._connection.get(f"{OWN}/catalog/plugins")
        return found
