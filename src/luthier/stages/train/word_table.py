"""The table of which only the words of the data learn, put into a network and taken out again; torch is loaded only then."""

from __future__ import annotations

from typing import Any


def put_in(model: Any) -> Any:
    """The table's rows that learn, now in the model's trunk."""
    from luthier.networks import touched_rows

    return touched_rows.put_in(model.trunk)


def take_out(model: Any, rows: Any) -> None:
    """The plain table, as it is saved."""
    from luthier.networks import touched_rows

    touched_rows.take_out(model.trunk, rows)
