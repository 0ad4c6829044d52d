"""Where the bytes of uploaded files lie: a folder on the disk, an Azure container or an S3 bucket; whole or not at all.

A blob has a name that we made (never the caller's file name) and is never changed. What comes in is written aside, counted and hashed on
the way; only then it gets its name: by a rename on the disk, by one key in an object store.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from luthier.core.errors import Damaged, InputError, LuthierError, MissingExtra, Overloaded
from luthier.store import files

NAME = re.compile(r"[0-9a-f]{32}(?:\.[a-z0-9]{1,12}){0,2}")
CHUNK_BYTES = 1 << 20
ABANDONED_S = 3600.0
"""What was written aside and not touched for so long has no writer any more."""

_LIBRARIES = {"abfs": ("adlfs", "azure"), "abfss": ("adlfs", "azure"), "az": ("adlfs", "azure"), "s3": ("s3fs", "s3")}
"""Scheme of the address -> library, and the extra that installs it."""


class Stored(NamedTuple):
    """A blob that is there whole; the digests are hex."""

    name: str
    size_bytes: int
    sha256: str
    md5: str


def new_name(suffix: str = "") -> str:
    """A name that no blob has; ``suffix`` (``.jsonl``) is one of ours, for readers that go by it."""
    return secrets.token_hex(16) + suffix


class Incoming:
    """Bytes on their way in: written to a file aside, counted and hashed. Gone when its block ends, unless ``Blobs.keep`` took it."""

    def __init__(self, path: Path, admit: Callable[[int], None] | None = None) -> None:
        self.path = path
        self.size_bytes = 0
        self._admit = admit
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = path.open("xb")

    def write(self, data: bytes) -> None:
        """More bytes; raises ``NoSpace``, and what ``admit`` raises when it is asked about the size that this would make."""
        if self._admit is not None:
            self._admit(self.size_bytes + len(data))
        with files.space_errors(Path("the store of files")):
            self._handle.write(data)
        self.size_bytes += len(data)
        self._sha256.update(data)
        self._md5.update(data)

    def finish(self) -> None:
        """Everything is on the disk; raises ``NoSpace``."""
        if self._handle.closed:
            return
        with files.space_errors(Path("the store of files")):
            try:
                self._handle.flush()
                os.fsync(self._handle.fileno())
            finally:
                self._handle.close()

    def stored(self, name: str) -> Stored:
        """What it is, under its name."""
        return Stored(name, self.size_bytes, self._sha256.hexdigest(), self._md5.hexdigest())

    def discard(self) -> None:
        """As if it had never come."""
        with contextlib.suppress(OSError):  # closing writes what is buffered, which a full disk refuses once more
            self._handle.close()
        self.path.unlink(missing_ok=True)


class Blobs:
    """The blobs at an address: a folder, ``abfs://container/prefix`` or ``az://``, ``s3://bucket/prefix``.

    ``cache`` is the folder where remote blobs are fetched to, and where what comes in is written first. ``options`` go to the library
    of an object store (the environment's own settings otherwise: ``AZURE_STORAGE_CONNECTION_STRING``, ``AWS_...``).
    """

    def __init__(self, url: str | Path, cache: Path | None = None, **options: Any) -> None:
        self.url = str(url).rstrip("/") or "/"
        scheme, _, rest = self.url.partition("://")
        self.scheme = scheme if rest and scheme != "file" else ""
        if self.scheme and self.scheme not in _LIBRARIES:
            raise InputError(
                f"LUTHIER_BLOBS: {self.scheme}:// is no address of blobs", "a folder, abfs://container/prefix or s3://bucket/prefix"
            )
        self.root = Path(rest if scheme == "file" else self.url).absolute()
        self.cache = cache or Path(os.environ.get("TMPDIR", "/tmp")) / "luthier-blobs"
        self._options = _azure_options() | options if self.scheme in ("abfs", "abfss", "az") else options
        self._opened: Any = None

    # -- in -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def incoming(self, admit: Callable[[int], None] | None = None) -> Iterator[Incoming]:
        """A place to write to. What is not kept when the block ends, however it ends, leaves nothing behind.

        ``admit`` is called with the size in bytes before each write, and refuses by raising.
        """
        with files.space_errors(Path("the store of files")):
            coming = Incoming(self._aside / secrets.token_hex(16), admit)
        try:
            yield coming
        finally:
            coming.discard()

    @property
    def _aside(self) -> Path:
        return (self.cache if self.scheme else self.root) / "incoming"

    def keep(self, coming: Incoming, suffix: str = "") -> Stored:
        """Makes a blob of what came, under a new name; durable when this returns."""
        coming.finish()
        name = new_name(suffix)
        if self.scheme:
            with self._spoken():
                self._remote.put_file(str(coming.path), self._key(name))
        else:
            target = self._path(name)
            with files.space_errors(Path("the store of files")):
                target.parent.mkdir(parents=True, exist_ok=True)
                coming.path.replace(target)
                files.sync_folder(target.parent)
        return coming.stored(name)

    def put(self, chunks: Iterable[bytes], suffix: str = "") -> Stored:
        """A new blob of these chunks; memory is bounded by the largest of them."""
        with self.incoming() as coming:
            for chunk in chunks:
                coming.write(chunk)
            return self.keep(coming, suffix)

    # -- out ------------------------------------------------------------------------------------------------------

    def open(self, name: str) -> IO[bytes]:
        """The blob, to read and seek in; raises ``Damaged`` when it is gone."""
        if self.scheme:
            with self._spoken(name):
                return cast(IO[bytes], self._remote.open(self._key(name), "rb", block_size=4 * CHUNK_BYTES))
        try:
            return self._path(name).open("rb")
        except FileNotFoundError:
            raise _gone(name) from None

    def chunks(self, name: str) -> Iterator[bytes]:
        """The blob's bytes, about a megabyte at a time. It is opened by the call, not by the first chunk: what is gone is said at once."""
        handle = self.open(name)

        def read() -> Iterator[bytes]:
            with handle:
                while chunk := handle.read(CHUNK_BYTES):
                    yield chunk

        return read()

    def joined(self, names: Iterable[str]) -> Iterator[bytes]:
        """The bytes of several blobs, one behind the other."""
        for name in names:
            yield from self.chunks(name)

    def size(self, name: str) -> int:
        """Bytes; raises ``Damaged`` when it is gone."""
        if self.scheme:
            with self._spoken(name):
                return int(self._remote.info(self._key(name))["size"])
        try:
            return self._path(name).stat().st_size
        except FileNotFoundError:
            raise _gone(name) from None

    def local(self, name: str) -> Path:
        """A file on this machine: the blob itself, or, of a remote one, a copy that is fetched once, whole or not at all."""
        if not self.scheme:
            path = self._path(name)
            if not path.is_file():
                raise _gone(name)
            return path
        copy = self.cache / name
        if not copy.is_file():
            with files.written_aside(copy) as aside, self._spoken(name):
                self._remote.get_file(self._key(name), str(aside))
        return copy

    # -- away -----------------------------------------------------------------------------------------------------

    def delete(self, name: str) -> None:
        """Removes the blob and any copy of it; one that is gone already is no error."""
        if not self.scheme:
            self._path(name).unlink(missing_ok=True)
            return
        (self.cache / name).unlink(missing_ok=True)
        with contextlib.suppress(Damaged), self._spoken(name):
            self._remote.rm_file(self._key(name))

    def sweep(self, older_than_s: float = ABANDONED_S) -> int:
        """Removes what killed writers left aside; how many files. Living writers touch theirs all the time."""
        removed, before = 0, time.time() - older_than_s
        for path in self._aside.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
        return removed

    def clear_cache(self) -> None:
        """Forgets the copies of remote blobs."""
        if self.scheme:
            shutil.rmtree(self.cache, ignore_errors=True)

    # -- where ----------------------------------------------------------------------------------------------------

    def _path(self, name: str) -> Path:
        """On the disk, blobs are spread over 256 folders: one folder of a million files is slow to look into."""
        return self.root / _checked(name)[:2] / name

    def _key(self, name: str) -> str:
        return f"{self.url}/{_checked(name)}"

    @property
    def _remote(self) -> Any:
        if self._opened is None:
            library, extra = _LIBRARIES[self.scheme]
            try:
                import fsspec

                self._opened = fsspec.filesystem(self.scheme, **self._options)
            except ImportError:
                raise MissingExtra(library, extra) from None
        return self._opened

    @contextlib.contextmanager
    def _spoken(self, name: str = "") -> Iterator[None]:
        """Errors of the object store in our words: the store's own may hold its address and are of a hundred kinds."""
        try:
            yield
        except FileNotFoundError:
            raise _gone(name) from None
        except LuthierError:
            raise
        except Exception as error:
            if files.disk_full(error):
                raise
            said = f"the store of files ({self.scheme}) does not answer as it should: {type(error).__name__}"
            raise Overloaded(said, "try again; the server's operator finds the cause in LUTHIER_BLOBS and its settings") from error


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} names no blob")
    return name


def _gone(name: str) -> Damaged:
    return Damaged(f"the content {name} is gone from the store of files", "upload the file again")


def _azure_options() -> dict[str, Any]:
    """adlfs reads these itself only in part; without credentials it would ask anonymously and be refused without a reason."""
    connection = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    if connection:
        return {"connection_string": connection}
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    key = os.environ.get("AZURE_STORAGE_ACCOUNT_KEY", "")
    return ({"account_name": account} if account else {}) | ({"account_key": key} if key else {"anon": False})
