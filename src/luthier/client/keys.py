"""API keys: made, listed, revoked (by a key with the scope admin)."""

from __future__ import annotations

from typing import Any

from luthier.client.connection import OWN, Connection, part
from luthier.client.records import Paged, Record


class Keys(Paged):
    """The keys of the workspace; the key itself is shown once, by ``create``."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, f"{OWN}/keys")

    def create(self, name: str, scopes: list[str], **more: Any) -> Record:
        """Makes a key; ``key`` in the answer is shown now and never again."""
        found: Record = self._connection.post(self._path, {"name": name, "scopes": scopes} | more)
        return found

    def revoke(self, key: str) -> Record:
        """Makes a key invalid at once."""
        found: Record = self._connection.delete(f"{self._path}/{part(key)}")
        return found

    def rotate(self, key: str) -> Record:
        """Gives a key a new secret, shown once; the one before is invalid at once."""
        found: Record = self._connection.post(f"{self._path}/{part(key)}/rotate")
        return found
