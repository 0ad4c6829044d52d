"""Artifacts: folders written once, named by the hash of their content, carrying their parents.

``root/{id}/`` holds the files and ``manifest.json`` (kind, name, parents, job key, summary, files with hashes). The id is
``{kind}-{16 hex}`` of the manifest's files and parents, so equal work has an equal name and a changed file is noticed.
Work that ends in what is there already adds its key and its name to the manifest's ``keys`` and ``names``, which are no part of the id.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
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
        """Moves a finished folder into the store. Where the same content is there already, that is returned, under the new name too;
        where that is damaged, the new folder takes its place.

        The manifest is written before the rename, so a kill leaves either the whole artifact or the work folder as it was.
        """
        listed = files.manifest(folder)
        identity = content_id({"kind": kind, "parents": list(parents), "files": {n: f["sha256"] for n, f in listed.items()}})
        artifact_id = f"{kind}-{identity}"
        target = self.root / artifact_id
        if target.exists() and _wrong(target, listed):
            _remove(target)
        if not target.exists():
            files.write_json(
                folder / "manifest.json",
                {
                    "id": artifact_id,
                    "kind": kind,
                    "name": name,
                    "parents": list(parents),
                    "key": key,
                    "names": [name] if name else [],
                    "keys": [key] if key else [],
                    "created_at": time.time(),
                    "summary": summary or {},
                    "plan": plan or {},
                    "files": listed,
                },
            )
            files.sync_tree(folder)
            try:
                folder.rename(target)
            except OSError as error:
                # Another writer of the same content was quicker: its artifact is this one.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            files.sync_folder(self.root)
        self._also(target, name, key)
        return _artifact(target, _read(target))

    def forget(self, artifact: str) -> None:
        """Removes an artifact that nothing was made of; one that is a parent stays."""
        if any(artifact in found.parents for found in self.all()):
            return
        folder = self._folder(artifact)
        if folder is not None:
            _remove(folder)

    def also_named(self, artifact: str, name: str) -> None:
        """Makes the artifact known by this name too: the same work was asked for under another one."""
        self._also(Path(self.get(artifact).path), name, "")

    def _also(self, folder: Path, name: str, key: str) -> None:
        """Makes the artifact known by this name and key too."""
        data = _read(folder)
        names, keys = _all_of(data, "name", name), _all_of(data, "key", key)
        if (names, keys) != (_all_of(data, "name"), _all_of(data, "key")):
            files.write_json(folder / "manifest.json", data | {"names": names, "keys": keys})

    def get(self, artifact: str, kind: str = "") -> Artifact:
        """The artifact with this id, or the newest one (of that kind) with this name; raises ``UnknownName``."""
        folder = self._folder(artifact)
        if folder:
            found = _artifact(folder, _read(folder))
            if not kind or found.kind == kind:
                return found
        known = self._known(kind)
        named = [found for found, data in known if artifact in _all_of(data, "name")]
        if not named:
            raise UnknownName.among(kind or "artifact", artifact, {a.id for a, _ in known}.union(*(_all_of(d, "name") for _, d in known)))
        return named[-1]

    def _folder(self, artifact: str) -> Path | None:
        """The folder that has this id, if there is one; what cannot be the name of a folder is nobody's id."""
        if not artifact or not artifact.isprintable():
            return None
        folder = files.inside(self.root, artifact)
        try:
            return folder if (folder / "manifest.json").is_file() else None
        except OSError:  # longer than the name of a file may be
            return None

    def _known(self, kind: str = "") -> list[tuple[Artifact, dict[str, Any]]]:
        """Every artifact of the kind whose manifest can be read, and the manifest, oldest first: a damaged one does not hide the others."""
        found = []
        for path in self.root.glob("*/manifest.json"):
            if path.parent.name.startswith(files.ASIDE):
                continue
            try:
                data = _read(path.parent)
            except OSError:
                continue
            found.append((_artifact(path.parent, data), data))
        return sorted((pair for pair in found if not kind or pair[0].kind == kind), key=lambda pair: pair[0].created_at)

    def manifest(self, artifact: str) -> dict[str, Any]:
        """Everything in ``manifest.json``: summary, files, key."""
        return _read(Path(self.get(artifact).path))

    def all(self, kind: str = "") -> list[Artifact]:
        """Every artifact that can be read, oldest first."""
        return [found for found, _ in self._known(kind)]

    def by_key(self, key: str) -> Artifact | None:
        """The artifact that exactly this work made, if it is there and whole."""
        for found, data in self._known():
            if key in _all_of(data, "key") and not files.check_manifest(Path(found.path), data["files"]):
                return found
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


def _read(folder: Path) -> dict[str, Any]:
    """An artifact's manifest; raises ``Damaged`` when it cannot be read or is none."""
    data = files.read_json(folder / "manifest.json")
    try:
        _artifact(folder, data)
    except (KeyError, TypeError, AttributeError):
        raise Damaged(f"{folder}: manifest.json is no manifest", "run the same recipe again: the stage is done anew") from None
    manifest: dict[str, Any] = data
    return manifest


def _artifact(folder: Path, data: dict[str, Any]) -> Artifact:
    return Artifact(
        id=data["id"],
        kind=data["kind"],
        path=str(folder),
        parents=tuple(data["parents"]),
        name=data["name"],
        created_at=float(data["created_at"]),
        size_bytes=sum(f["size_bytes"] for f in data["files"].values()),
    )


def _all_of(data: dict[str, Any], field: str, new: str = "") -> list[str]:
    """Every name (or key) of a manifest, and ``new`` (manifests of earlier versions know one only)."""
    return [one for one in dict.fromkeys([data.get(field, ""), *data.get(f"{field}s", ()), new]) if one]


def _wrong(folder: Path, listed: dict[str, dict[str, Any]]) -> str:
    """Why the folder is not the whole artifact with these files ("" when it is)."""
    try:
        found = _read(folder)["files"]
    except OSError as error:
        return str(error)
    return files.check_manifest(folder, listed) or ("" if found == listed else "its manifest lists other files")


def _remove(folder: Path) -> None:
    """Out of the way first, so that a kill in the middle leaves nothing that looks like an artifact."""
    aside = files.aside_of(folder)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
