"""Weights as they are saved: of the word vectors only the rows that training touched."""

from __future__ import annotations

from typing import Any

ROWS = "rows"
"""The name of the word vectors [rows, width] among the tensors."""


def slim(tensors: dict[str, Any], used: Any) -> dict[str, Any]:
    """The tensors with ``rows/used`` (row numbers) and ``rows/values`` in the place of the word vectors; ``used``: bool [rows]."""
    found = {name: value for name, value in tensors.items() if name != ROWS}
    if ROWS in tensors:
        numbers = used.nonzero().squeeze(1)
        found |= {"rows/used": numbers, "rows/values": tensors[ROWS].index_select(0, numbers)}
    return found


def lay(target: dict[str, Any], saved: dict[str, Any]) -> None:
    """Copies what ``slim`` gave over ``target``, on whatever device that lies."""
    for name, value in saved.items():
        if name == "rows/values":
            device = target[ROWS].device
            target[ROWS].index_copy_(0, saved["rows/used"].to(device), value.to(device))
        elif name != "rows/used":
            target[name].copy_(value)
