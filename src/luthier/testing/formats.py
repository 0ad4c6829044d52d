"""What every format promises: an honest guess, rows as a stream with their lines, and a sentence for a file that is wrong as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import InputError
from luthier.core.ports import BadRow, Format, Row
from luthier.testing import made
from luthier.testing.claim import checks, ensure, refuses
from luthier.testing.shape import check_shape

HEAD_BYTES = 65_536
SURE = 0.5
"""From here on a format counts as the one for a file."""


@checks
def check_format(plugin: Any, path: Path = Path()) -> None:
    """``path``: a good file (or folder) of this format with two rows at least; by default the made file that it is surest of."""
    check_shape(plugin, Format)
    place = made.folder()
    candidates = [*([path] if path != Path() else []), *made.data_files(place)]
    sure = {one: _sniffed(plugin, one) for one in candidates}
    good = path if path != Path() else max(candidates, key=lambda one: sure[one])
    ensure(sure[good] >= SURE, f"{plugin.name}: recognises no good file (sniff gives {sure[good]}): give one with path=")
    _check_rows(plugin, good)
    _check_wrong(plugin, good, place)


def _sniffed(plugin: Any, path: Path) -> float:
    found = plugin.sniff(path, b"" if path.is_dir() else path.read_bytes()[:HEAD_BYTES])
    ensure(isinstance(found, int | float) and 0 <= found <= 1, f"{plugin.name}: sniff gives {found!r} for {path.name}, not 0 to 1")
    return float(found)


def _check_rows(plugin: Any, path: Path) -> None:
    stream = plugin.rows(path)
    kind = type(stream).__name__
    ensure(isinstance(stream, Iterator), f"{plugin.name}: rows gives a {kind}, not a stream: it holds the whole file in memory")
    rows = list(stream)
    strange = [row for row in rows if not isinstance(row, Row | BadRow)]
    ensure(not strange, f"{plugin.name}: rows gives {strange[:1]}, which is no Row and no BadRow")
    good = [row for row in rows if isinstance(row, Row)]
    bad = [row for row in rows if isinstance(row, BadRow)]
    ensure(len(good) >= 2, f"{plugin.name}: {path.name} gives {len(good)} good rows, two at least are there: {bad[:1]}")
    lines = [row.line for row in rows]
    rising = all(a < b for a, b in zip([0, *lines], lines, strict=False))
    ensure(rising, f"{plugin.name}: line numbers must rise from 1, not {lines[:5]}")
    size = sum(one.stat().st_size for one in (path.rglob("*") if path.is_dir() else [path]))
    places = [row.at_bytes for row in good]
    inside = places == sorted(places) and places[0] >= 0 and places[-1] <= size
    ensure(inside, f"{plugin.name}: at_bytes must rise within the file's {size} bytes, not {places[:3]} ... {places[-1]}")
    named = all(isinstance(name, str) for row in good for name in row.values)
    ensure(named, f"{plugin.name}: values must be by column name")
    ensure(list(plugin.rows(path)) == rows, f"{plugin.name}: reading {path.name} again gives other rows")


def _check_wrong(plugin: Any, good: Path, place: Path) -> None:
    """Empty, binary and truncated. Of a truncated file, rows or an ``InputError`` may come, and nothing else."""
    empty, binary = place / f"empty{good.suffix}", place / f"binary{good.suffix}"
    empty.write_bytes(b"")
    binary.write_bytes(b"\x7f" + np.random.default_rng(1).bytes(5000))
    (place / "nothing").mkdir()
    for wrong in (empty, binary, *([place / "nothing"] if good.is_dir() else [])):
        _sniffed(plugin, wrong)
        refuses(InputError, lambda wrong=wrong: list(plugin.rows(wrong)), f"{plugin.name}: {wrong.name} must be refused")  # type: ignore[misc]
    torn = place / f"torn{good.suffix}"
    shutil.copytree(good, torn) if good.is_dir() else shutil.copy(good, torn)
    largest = max((one for one in torn.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size) if torn.is_dir() else torn
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    try:
        list(plugin.rows(torn))
    except InputError:
        return
    except Exception as error:
        raise AssertionError(f"{plugin.name}: a truncated file must give InputError, not {type(error).__name__}: {error}") from error
