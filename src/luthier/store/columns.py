"""The kinds of columns that the tables are made of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Float, Integer, MetaData, String, text

METADATA = MetaData()


def words(name: str, default: str | None = "", *, unique: bool | None = None) -> Column[Any]:
    """A text that is always there; with ``None`` as the default it must be given."""
    if default is None:
        return Column(name, String, nullable=False, unique=unique)
    return Column(name, String, nullable=False, default=default)


def several(*names: str) -> list[Column[Any]]:
    """Texts that must be given."""
    return [words(name, None) for name in names]


def later(name: str, kind: Any = String, default: Any = "") -> Column[Any]:
    """A column that came with an upgrade: rows of before it have a value too."""
    return Column(name, kind, nullable=False, default=default, server_default={String: "", Integer: "0"}.get(kind, "{}"))


def some_rows(condition: str) -> dict[str, Any]:
    """Of an index over some rows only."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def moment(name: str) -> Column[Any]:
    """Seconds since 1970; 0: never."""
    return Column(name, Float, nullable=False, default=0.0)


def data(name: str, default: Any = dict) -> Column[Any]:
    """A JSON value."""
    return Column(name, JSON, nullable=False, default=default)


def count(name: str) -> Column[Any]:
    """A whole number, of bytes perhaps."""
    return Column(name, BigInteger, nullable=False, default=0)


def lease() -> tuple[Column[Any], ...]:
    """Who works on the row, until when; a change applies only while the token still matches."""
    return words("lease_owner"), words("lease_token"), moment("lease_expires_at")
