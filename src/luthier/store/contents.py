"""What a folder of files is, by content: the same on every machine that has a copy, whenever and however it was copied.

Weights are large, so what was hashed once is remembered for as long as the files stay the same ones: in the process, and in a folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from luthier.core.errors import Damaged
from luthier.store import files

_KNOWN: dict[str, str] = {}


def of(folder: Path, patterns: Sequence[str] = ("*",), kept: Path | None = None) -> str:
    """16 hex digits of names and bytes of the files of ``folder`` (its manifest aside) that match; ``kept``: where that is remembered."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file() and path.name != "manifest.json"}
    paths = sorted(found, key=lambda path: path.relative_to(folder).as_posix())
    seen = _seen(folder, paths)
    note = None if kept is None else kept / f"{seen}.json"
    known = _KNOWN.get(seen) or _noted(note)
    if not known:
        digest = hashlib.blake2b(digest_size=8)
        for path in paths:
            digest.update(f"{path.relative_to(folder).as_posix()} {files.sha256(path)}\n".encode())
        known = digest.hexdigest()
        if note is not None and seen == _seen(folder, paths):
            files.write_json(note, {"folder": str(folder), "content": known})
    _KNOWN[seen] = known
    return known


def _noted(note: Path | None) -> str:
    if note is None or not note.is_file():
        return ""
    try:
        return str(files.read_json(note)["content"])
    except (Damaged, OSError, KeyError, TypeError):
        return ""


def _seen(folder: Path, paths: Sequence[Path]) -> str:
    """Equal as long as these are the same files of this machine, unchanged. The time of the last change of a file's entry cannot be set
    by hand, as that of its bytes can: packages are often installed with times that say nothing."""
    facts = [(path.relative_to(folder).as_posix(), one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino, one.st_dev)
             for path in paths for one in [path.stat()]]  # fmt: skip
    return hashlib.blake2b(repr((str(folder), facts)).encode(), digest_size=16).hexdigest()
