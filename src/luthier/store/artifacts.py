"""Artifacts: folders written once, named by the hash of their content, carrying their parents.

``root/{id}/`` holds the files and ``manifest.json`` (kind, name, parents, job key, summary, files with hashes). The id is
``{kind}-{16 hex}`` of the manifest's files and parents, so equal work has an equal name and a changed file is noticed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.core.errors import Damaged, UnknownName
from luthier.core.types import Artifact, content_id
from luthier.store import files


class Artifacts:
    """The artifacts below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def add(
        self,
        folder: Path,
        kind: str,
        *,
        parents: tuple[str, ...] = (),
        name: str = "",
        key: str = "",
        summary: dict[str, Any] | None = None,
        plan: dict[str, Any] | None = None,
    ) -> Artifact:
        """Moves a finished folder into the store; a folder with the same content is already there: that one is returned.

        The manifest is written before the rename, so a kill leaves either the whole artifact or the work folder as it was.
        """
        listed = files.manifest(folder)
        identity = content_id({"kind": kind, "parents": list(parents), "files": {n: f["sha256"] for n, f in listed.items()}})
        artifact_id = f"{kind}-{identity}"
        target = self.root / artifact_id
        if not target.exists():
            files.write_json(
                folder / "manifest.json",
                {
                    "id": artifact_id,
                    "kind": kind,
                    "name": name,
                    "parents": list(parents),
                    "key": key,
                    "created_at": time.time(),
                    "summary": summary or {},
                    "plan": plan or {},
                    "files": listed,
                },
            )
            for path in folder.rglob("*"):
                if path.is_file():
                    with path.open("rb") as handle:
                        os.fsync(handle.fileno())
            folder.rename(target)
            files.sync_folder(self.root)
        return self.get(artifact_id)

    def get(self, artifact: str, kind: str = "") -> Artifact:
        """The artifact with this id, or the newest one (of that kind) with this name; raises ``UnknownName``."""
        if (files.inside(self.root, artifact) / "manifest.json").is_file():
            found = self._read(self.root / artifact)
            if not kind or found.kind == kind:
                return found
        everything = self.all(kind)
        named = [a for a in everything if a.name == artifact]
        if not named:
            raise UnknownName.among(kind or "artifact", artifact, [a.id for a in everything] + [a.name for a in everything if a.name])
        return named[-1]

    def _read(self, folder: Path) -> Artifact:
        data = files.read_json(folder / "manifest.json")
        return Artifact(
            id=data["id"],
            kind=data["kind"],
            path=str(folder),
            parents=tuple(data["parents"]),
            name=data["name"],
            created_at=data["created_at"],
            size_bytes=sum(f["size_bytes"] for f in data["files"].values()),
        )

    def manifest(self, artifact: str) -> dict[str, Any]:
        """Everything in ``manifest.json``: summary, files, key."""
        data: dict[str, Any] = files.read_json(self.root / self.get(artifact).id / "manifest.json")
        return data

    def all(self, kind: str = "") -> list[Artifact]:
        """Every artifact, oldest first."""
        found = [self._read(path.parent) for path in self.root.glob("*/manifest.json") if not path.parent.name.startswith(files.ASIDE)]
        return sorted((a for a in found if not kind or a.kind == kind), key=lambda a: a.created_at)

    def by_key(self, key: str) -> Artifact | None:
        """The artifact that exactly this work made, if it is there and whole."""
        for path in self.root.glob("*/manifest.json"):
            data = files.read_json(path)
            if data.get("key") == key and not files.check_manifest(path.parent, data["files"]):
                return self._read(path.parent)
        return None

    def check(self, artifact: str) -> None:
        """Raises ``Damaged`` when a file is missing or altered."""
        found = self.get(artifact)
        wrong = files.check_manifest(Path(found.path), self.manifest(artifact)["files"])
        if wrong:
            raise Damaged(f"{found.path}: {wrong}", "run the same recipe again: the stage is done anew")

    def lineage(self, artifact: str) -> Iterator[Artifact]:
        """The artifact, its parents, their parents ..., each once."""
        seen: set[str] = set()
        queue = [artifact]
        while queue:
            found = self.get(queue.pop(0))
            if found.id not in seen:
                seen.add(found.id)
                yield found
                queue.extend(found.parents)
