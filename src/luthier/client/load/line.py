"""One connection of the load generator: HTTP/1.1 by hand over asyncio, because what measures must cost little.

``http.client`` blocks, and the usual asynchronous libraries cost more a request than a small model's answer does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

MOST_BYTES = 64 << 20
"""Largest answer that is read."""


@dataclass(frozen=True)
class Target:
    """Where requests go. ``head``: all of the request's head but the length of the body."""

    host: str
    port: int
    secure: bool
    head: bytes

    @classmethod
    def of(cls, url: str, path: str, key: str = "") -> Target:
        """``url``: a server's address as ``client.Connection`` has it; ``path`` is below it."""
        split = urlsplit(url)
        secure = split.scheme == "https"
        lines = [f"POST {split.path}{path} HTTP/1.1", f"host: {split.netloc}", "user-agent: luthier", "content-type: application/json"]
        lines += [f"authorization: Bearer {key}"] if key else []
        head = "\r\n".join([*lines, "content-length: "]).encode("latin-1")
        return cls(split.hostname or "", split.port or (443 if secure else 80), secure, head)


class Line:
    """Sends a body, reads the answer, and again; connects when it must."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, body: bytes) -> tuple[int, bytes]:
        """Status and body; raises ``OSError`` or ``EOFError`` when no answer comes."""
        fresh = self._writer is None
        try:
            return await self._once(body)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.close()
            if fresh:
                raise
        return await self._once(body)  # the server had closed a line that nothing was asked on for a while

    async def _once(self, body: bytes) -> tuple[int, bytes]:
        if self._writer is None:
            await self._connect()
        reader, writer = self._reader, self._writer
        assert reader is not None
        assert writer is not None
        writer.write(self.target.head + str(len(body)).encode() + b"\r\n\r\n" + body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        said = await _body(reader, head)
        if b"\r\nconnection: close" in head:
            self.close()
        return status, said

    async def _connect(self) -> None:
        context = ssl.create_default_context() if self.target.secure else None
        self._reader, self._writer = await asyncio.open_connection(self.target.host, self.target.port, ssl=context, limit=1 << 20)

    def close(self) -> None:
        """Hangs up."""
        if self._writer is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.close()
        self._reader = self._writer = None


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if b"\r\ntransfer-encoding: chunked" in head:
        parts = []
        while size := int((await reader.readline()).split(b";")[0], 16):
            parts.append(await reader.readexactly(_allowed(size)))
            await reader.readline()
        await reader.readline()
        return b"".join(parts)
    _, sign, rest = head.partition(b"\r\ncontent-length:")
    return await reader.readexactly(_allowed(int(rest.split(b"\r\n")[0]))) if sign else b""


def _allowed(size: int) -> int:
    if size > MOST_BYTES:
        raise ConnectionError(f"an answer of {size} bytes is not read")
    return size
