"""Reads a multipart body as it comes: small fields into memory, the one file straight to the disk, in any order."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from luthier.api.errors import TooLarge
from luthier.core.errors import InputError, SpecError

MOST_FIELDS = 50
LARGEST_FIELD_BYTES = 65_536
WRITTEN_AT_ONCE_BYTES = 1 << 20
# Its warnings are the callers' mistakes, which are answered to them: a log that callers can fill is of no use.
logging.getLogger("python_multipart").setLevel(logging.ERROR)
_SEND = "send multipart/form-data, as OpenAI's clients do"


class Taking(Protocol):
    """What takes a file's bytes as they come (``blobs.Incoming``)."""

    @property
    def size_bytes(self) -> int:
        """How many came so far."""

    def write(self, data: bytes) -> Any:
        """The next ones."""


class InMemory:
    """A small file."""

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def size_bytes(self) -> int:
        """How many bytes came so far."""
        return len(self.data)

    def write(self, data: bytes) -> None:
        """The next ones."""
        self.data += data


@dataclass
class Form:
    """What a multipart body held beside its file: the fields, and what the file was called."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str = ""
    has_file: bool = False

    def needed(self, name: str) -> str:
        """A field that must be there; raises ``SpecError``."""
        if name not in self.fields:
            raise SpecError(name, "is missing", f"send the field {name}")
        return self.fields[name]


class _Reader:
    """The parser's callbacks: it calls them with pieces, and in the middle of them when a piece of the body ends."""

    def __init__(self, file_field: str, form: Form) -> None:
        self.form = form
        self.ended = False
        self.waiting: list[bytes] = []
        self.waiting_bytes = 0
        self._file_field = file_field
        self._header, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._is_file = False
        self._field = bytearray()

    def on_part_begin(self) -> None:
        self._headers, self._field = {}, bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise InputError("the multipart body has a part without a name", _SEND)
        self._name = _text(options[b"name"])
        self._is_file = b"filename" in options or self._name == self._file_field
        if self._is_file:
            self._begin_file(_text(options.get(b"filename", b"")))
        elif len(self.form.fields) >= MOST_FIELDS:
            raise InputError(f"the form has more than {MOST_FIELDS} fields", _SEND)
        elif self._name in self.form.fields:
            raise SpecError(self._name[:60], "is there twice", "send the field once")

    def _begin_file(self, filename: str) -> None:
        if self._name != self._file_field:
            raise SpecError(self._name[:60], "is a file that is not expected", f"send the file in the field {self._file_field}")
        if self.form.has_file:
            raise SpecError(self._file_field, "is there twice", "send one file in one request")
        self.form.has_file, self.form.filename = True, filename

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.waiting.append(data[start:end])
            self.waiting_bytes += end - start
            return
        self._field += data[start:end]
        if len(self._field) > LARGEST_FIELD_BYTES:
            raise SpecError(self._name[:60], f"is longer than {LARGEST_FIELD_BYTES} bytes", "is it the file, sent without a file name?")

    def on_part_end(self) -> None:
        if not self._is_file:
            self.form.fields[self._name] = _text(bytes(self._field))

    def on_end(self) -> None:
        self.ended = True

    def taken(self) -> bytes:
        """The file's bytes since the last time."""
        data = b"".join(self.waiting)
        self.waiting, self.waiting_bytes = [], 0
        return data


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\0", "")


async def receive(request: Request, coming: Taking, *, file_field: str = "file", most_bytes: int = 0) -> Form:
    """Reads the whole body, its file to ``coming``.

    Raises ``InputError`` for a body that is no whole multipart form, ``TooLarge`` above ``most_bytes`` of the file, and what writing
    raises; ``ClientDisconnect`` when the client goes away.
    """
    form = Form()
    reader = _Reader(file_field, form)
    names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end", "headers_finished", "end")
    try:
        callbacks: Any = {f"on_{name}": getattr(reader, f"on_{name}") for name in names}
        parser = MultipartParser(_boundary(request.headers), callbacks)
        async for chunk in request.stream():
            parser.write(chunk)
            if most_bytes and coming.size_bytes + reader.waiting_bytes > most_bytes:
                raise TooLarge(f"{file_field}: the file is larger than {most_bytes:,} bytes", "send it in parts: POST /v1/uploads")
            if reader.waiting_bytes >= WRITTEN_AT_ONCE_BYTES:
                await run_in_threadpool(coming.write, reader.taken())
    except FormParserError as error:
        raise InputError(f"the body is no multipart form: {str(error)[:200]}", _SEND) from None
    if not reader.ended:
        raise InputError("the multipart body ends in the middle: its last boundary is missing", "send the request again, whole")
    if not form.has_file:
        raise SpecError(file_field, "is missing", f"send the file in the field {file_field}")
    if reader.waiting:
        await run_in_threadpool(coming.write, reader.taken())
    return form


def _boundary(headers: Mapping[str, str]) -> bytes:
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise InputError("the body is no multipart form", _SEND)
    if not options.get(b"boundary"):
        raise InputError("content-type: names no boundary", _SEND)
    return options[b"boundary"]
