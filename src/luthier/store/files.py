"""Files that are never torn: written aside, flushed to the disk, renamed into place."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.core.errors import Damaged, NoSpace, UnsafeFile
from luthier.store import processes

ASIDE = ".aside-"
"""Names that begin so are half-finished work; ``sweep`` removes them when their writer is gone."""

UNKNOWN_S = 48 * 3600.0
"""What a writer of another machine left, of which nobody here can say whether it is gone, is kept so long after it was last written to."""

_LIVING: set[str] = set()
"""Names of the half-finished work that this process is at, perhaps in another thread; ``sweep`` leaves it."""

PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib")


@contextlib.contextmanager
def space_errors(path: Path) -> Iterator[None]:
    """Turns "no space left" and quota errors into ``NoSpace`` that names the path."""
    try:
        yield
    except Exception as error:
        if disk_full(error) and not isinstance(error, NoSpace):
            raise NoSpace(f"{path}: the disk is full", "free some space and start the same command again: finished work is kept") from error
        raise


def disk_full(error: Exception) -> bool:
    """Whether the error says that there is no space left (safetensors' own error carries the number in its text only)."""
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError):
        return error.errno in numbers
    return type(error).__name__ == "SafetensorError" and any(f"os error {number})" in str(error) for number in numbers)


def sync_folder(folder: Path) -> None:
    """Makes renames inside ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Makes every file below ``folder``, and every name, durable: a rename must not outlive what it names."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
    sync_folder(folder)


def aside_of(path: Path) -> Path:
    """A new name beside ``path`` for what is half-finished or on its way out."""
    return path.with_name(f"{ASIDE}{processes.mark()}-{secrets.token_hex(4)}-{path.name}")


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path to write to; it becomes ``path`` whole when the block ends, and nothing remains when the block fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    _LIVING.add(aside.name)
    with space_errors(path):
        try:
            yield aside
            with aside.open("rb") as handle:
                os.fsync(handle.fileno())
            aside.replace(path)
            sync_folder(path.parent)
        finally:
            aside.unlink(missing_ok=True)
            _LIVING.discard(aside.name)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a whole file or none of it."""
    with written_aside(path) as aside:
        aside.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes a whole UTF-8 file or none of it."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes a whole, readable JSON file or none of it."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON in a file; raises ``Damaged`` when it is torn or missing."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Damaged(f"{path}: the file is missing") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise Damaged(f"{path}: not whole JSON: {error}") from None


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """``{relative path: {sha256, size_bytes}}`` of every file below ``folder`` except ``manifest.json``, in order of path."""
    return {
        path.relative_to(folder).as_posix(): {"sha256": sha256(path), "size_bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).as_posix() != "manifest.json"
    }


def check_manifest(folder: Path, files: dict[str, dict[str, Any]]) -> str:
    """The first thing wrong with a folder ("" when every file is there and has its hash)."""
    for name, facts in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != facts["size_bytes"]:
            return f"{name} has {path.stat().st_size} bytes instead of {facts['size_bytes']}"
        if sha256(path) != facts["sha256"]:
            return f"{name} was altered"
    return ""


@contextlib.contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """A folder to fill; it becomes ``folder`` whole when the block ends. Raises ``FileExistsError`` if ``folder`` exists by then."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(folder)
    _LIVING.add(aside.name)
    with space_errors(folder):
        try:
            aside.mkdir()
            yield aside
            sync_tree(aside)
            aside.rename(folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            _LIVING.discard(aside.name)


def sweep(folder: Path) -> int:
    """Removes what killed writers left behind directly in ``folder``; how many things."""
    removed = 0
    for path in folder.glob(f"{ASIDE}*"):
        if path.name in _LIVING or not _left(path):
            continue
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        removed += 1
    return removed


def _left(path: Path) -> bool:
    """Whether the writer of half-finished work is gone; what is really this process's is in ``_LIVING``."""
    writer = processes.read(path.name.removeprefix(ASIDE))
    if writer is not None and writer.machine == processes.machine():
        return writer == processes.mark() or processes.gone(writer)
    return _last_written(path) < time.time() - UNKNOWN_S


def _last_written(path: Path) -> float:
    """When anything of it was; now, if it is being moved under our eyes."""
    try:
        return max(one.stat().st_mtime for one in [path, *path.rglob("*")])
    except OSError:
        return time.time()


def inside(folder: Path, name: str) -> Path:
    """``folder / name``, refused when it would leave the folder."""
    if "\0" in name:
        raise UnsafeFile(f"{name!r} is no path", "use a path inside the folder")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UnsafeFile(f"{name!r} leaves the folder {folder}", "use a path inside the folder")
    return path


def refuse_pickles(folder: Path) -> None:
    """Raises ``UnsafeFile`` when ``folder`` offers its weights as a pickle only: loading one can run any code."""
    if list(folder.glob("*.safetensors")):
        return
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICKLES:
            raise UnsafeFile(
                f"{path}: a pickle can run any code when it is loaded; Luthier reads safetensors only",
                "convert it elsewhere: safetensors.torch.save_file(torch.load(..., weights_only=True), 'model.safetensors')",
            )
