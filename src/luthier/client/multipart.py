"""A file and a few fields as one multipart body that is read from the disk while it is sent."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from luthier.core.errors import InputError

BLOCK = 1 << 20


class Multipart:
    """The body of an upload: the whole file, or ``most`` bytes of it from ``start`` on. Each pass over it opens the file anew."""

    def __init__(self, fields: Mapping[str, str], field: str, path: Path, filename: str = "", start: int = 0, most: int = 0) -> None:
        left = size_of(path) - start
        self.size_bytes = min(left, most) if most else left
        self.path = path
        self.start = start
        self._mark = secrets.token_hex(16)
        parts = [self._head(name) + value.encode("utf-8", "replace") + b"\r\n" for name, value in fields.items()]
        self._before = b"".join(parts) + self._head(field, filename or path.name)
        self._after = f"\r\n--{self._mark}--\r\n".encode()

    @property
    def headers(self) -> dict[str, str]:
        """What the request says of its body."""
        length = len(self._before) + self.size_bytes + len(self._after)
        return {"Content-Type": f"multipart/form-data; boundary={self._mark}", "Content-Length": str(length)}

    def _head(self, name: str, filename: str = "") -> bytes:
        said = f'--{self._mark}\r\nContent-Disposition: form-data; name="{_quoted(name)}"'
        if filename:
            said += f'; filename="{_quoted(filename)}"\r\nContent-Type: application/octet-stream'
        return f"{said}\r\n\r\n".encode("utf-8", "replace")

    def __iter__(self) -> Iterator[bytes]:
        """The body, a block at a time; as long as it was when its length was said, also when the file grew since."""
        yield self._before
        left = self.size_bytes
        with self.path.open("rb") as handle:
            handle.seek(self.start)
            while left:
                block = handle.read(min(BLOCK, left))
                if not block:
                    raise InputError(f"{self.path}: became shorter while it was sent", "send it again")
                left -= len(block)
                yield block
        yield self._after


def size_of(path: Path) -> int:
    """Bytes of a file that can be read; raises ``InputError``."""
    try:
        with path.open("rb"):
            return path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", "name a file") from None


def _quoted(text: str) -> str:
    """As browsers write a name into the head of a part: a quote or a new line would end it."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
