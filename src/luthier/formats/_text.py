"""Opening text files: compression, encodings and binary files are settled here, once for every text format."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from luthier.core.errors import InputError, UnsafeFile

HEAD_BYTES = 65_536
COMPRESSED = (".gz", ".xz")
LONGEST_LINE = 64_000_000
"""Characters; a longer line means that the file is not what it says it is."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PAR1", "a Parquet file"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook: save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save it as CSV"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3", "an SQLite database"),
    (b"ARROW1", "an Arrow file"),
    (b"BZh", "bzip2-compressed: unpack it, or pack it as .gz or .xz"),
    (b"(\xb5/\xfd", "Zstandard-compressed: unpack it, or pack it as .gz or .xz"),
    (b"\x7fELF", "a program"),
)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NOT_UTF8 = ("holds bytes that are not UTF-8", "save the file as UTF-8, or say --encoding cp1252 (in a run: --set data.encoding=cp1252)")
"""Reason and remedy of a row that the encoding could not read."""

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_LONE = re.compile("[\udc80-\udcff]")
# Encodings that real exports use; a closed list keeps the guess from wandering into code pages of old mainframes.
_GUESSES = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"]


class Opened(NamedTuple):
    """An open text file. ``raw`` is the file on the disk: its position is the progress in bytes, compressed or not."""

    text: IO[str]
    raw: IO[bytes]


def inner_suffix(path: Path) -> str:
    """``.csv`` for ``reviews.csv`` and for ``reviews.csv.gz``."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _data(path: Path, raw: IO[bytes]) -> IO[bytes]:
    start = raw.read(6)
    raw.seek(0)
    if start[:2] == b"\x1f\x8b":
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    if start == b"\xfd7zXZ\x00":
        return lzma.LZMAFile(raw)
    return raw


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turns the errors of a damaged compressed file into ``InputError`` that names it."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: the compressed file is truncated or damaged ({error})", "copy or download it again") from None


def read_head(path: Path) -> bytes:
    """The first 64 kB of the (decompressed) file."""
    with damage_named(path), path.open("rb") as raw:
        return _data(path, raw).read(HEAD_BYTES)


def refuse_pickle(path: Path, head: bytes) -> None:
    """Raises ``UnsafeFile`` for a pickle, whatever it is called: loading one can run any code."""
    if inner_suffix(path) in (".pkl", ".pickle", ".joblib", ".pt", ".pth") or re.match(rb"\x80[\x02-\x05]", head):
        raise UnsafeFile(
            f"{path}: this is a pickle, and loading one can run any code",
            "save the data as Parquet, CSV or JSONL: frame.to_parquet('data.parquet')",
        )


def refuse_binary(path: Path, head: bytes) -> None:
    """Raises ``InputError`` for an empty file, ``UnsafeFile`` for a pickle and ``InputError`` for other binary content."""
    if not head:
        raise InputError(f"{path}: the file is empty", "give a file with at least a header and two rows")
    refuse_pickle(path, head)
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise InputError(f"{path}: not text: it looks like {what}", "give CSV, TSV, JSONL or Parquet")
    if not _wide(head) and len(_CONTROL.findall(head)) > len(head) // 100:
        raise InputError(f"{path}: a binary file, not text", "give CSV, TSV, JSONL or Parquet")


def _wide(head: bytes) -> str:
    """The UTF-16 or UTF-32 flavour of the head ("" when it is neither)."""
    for bom, name in _BOMS[1:]:
        if head.startswith(bom):
            return name
    sample = head[:4096]
    if len(sample) >= 8:
        if sample[1::2].count(0) > 0.4 * len(sample) / 2 and sample[0::2].count(0) < 0.02 * len(sample):
            return "utf-16-le"
        if sample[0::2].count(0) > 0.4 * len(sample) / 2 and sample[1::2].count(0) < 0.02 * len(sample):
            return "utf-16-be"
    return ""


def detect_encoding(head: bytes) -> str:
    """The encoding's Python name, from the byte order mark, else from what the head decodes as (charset-normalizer for the rest)."""
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    wide = _wide(head)
    if wide:
        return wide
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
        return "utf-8"
    except UnicodeDecodeError:
        from charset_normalizer import from_bytes

        # Only the lines that are not ASCII say anything, and the guess is quick on few of them.
        telling = b"\n".join([line for line in head.split(b"\n") if not line.isascii()][:200])[:16_384]
        matches = from_bytes(telling, cp_isolation=_GUESSES)
        best = matches.best()
        western = next((match for match in matches if match.encoding == "cp1252"), None)
        # Letters of western and central Europe share their bytes: where both read well, the far more frequent one is meant.
        if best is None or (best.encoding == "cp1250" and western is not None and western.chaos <= best.chaos + 0.02):
            return "cp1252"
        return best.encoding


def _with_mark(encoding: str, head: bytes) -> str:
    """The encoding's own name, in the flavour that takes the file's byte order mark away: else the mark would begin the first name."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise InputError(f"data.encoding: there is no encoding {encoding!r}", "e.g. utf-8, utf-16, cp1252") from None
    family = "-".join(name.split("-")[:2])
    return next((marked for mark, marked in _BOMS if head.startswith(mark) and marked.startswith(family)), name)


@contextlib.contextmanager
def opened(path: Path, encoding: str = "") -> Iterator[Opened]:
    """The file as text; line ends are kept as they are. Bytes that do not fit the encoding become lone surrogates: see ``undecodable``."""
    head = read_head(path)
    refuse_binary(path, head)
    chosen = _with_mark(encoding or detect_encoding(head), head)
    errors = "surrogateescape" if chosen.startswith("utf-8") or chosen == "ascii" else "replace"
    with path.open("rb") as raw, damage_named(path):
        text = io.TextIOWrapper(cast(io.BufferedReader, _data(path, raw)), encoding=chosen, errors=errors, newline="")
        yield Opened(text, raw)


def lines(path: Path, text: IO[str], hint: str) -> Iterator[str]:
    """The lines with their ends; raises ``InputError`` for one that no memory should have to hold."""
    for number, line in enumerate(iter(lambda: text.readline(LONGEST_LINE), ""), 1):
        if len(line) >= LONGEST_LINE:
            raise InputError(f"{path}:{number}: a line of more than {LONGEST_LINE:,} characters", hint)
        yield line


def undecodable(text: str) -> bool:
    """Whether the text holds bytes that the encoding could not read."""
    return not text.isascii() and _LONE.search(text) is not None
