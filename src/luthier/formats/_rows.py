"""A row made of another one: what the formats that read tables and lines of others have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.core.errors import RowError
from luthier.core.ports import BadRow, Row


def converted(row: Row | BadRow, convert: Callable[[dict[str, Any]], dict[str, Any]]) -> Row | BadRow:
    """The row with the values that ``convert`` makes of its own; a ``BadRow`` where it raises ``RowError``, and one stays as it is."""
    if isinstance(row, BadRow):
        return row
    try:
        return row._replace(values=convert(row.values))
    except RowError as error:
        return BadRow(row.line, error.field, error.reason, error.remedy)
