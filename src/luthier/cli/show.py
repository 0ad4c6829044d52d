"""How things look in the terminal: errors, plans, tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from luthier.core.errors import LuthierError
from luthier.core.plan import Plan
from luthier.core.spec import SECTIONS

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def error_panel(error: LuthierError) -> None:
    """The message, and the remedy below it."""
    err.print(f"[red]error[/red] ({error.code}): {escape(error.message)}")
    if error.hint:
        err.print(f"  [cyan]→[/cyan] {escape(error.hint)}")


def plain(text: str) -> str:
    """A text whose brackets are no markup."""
    return escape(text)


def as_json(value: Any, *, line: bool = False) -> None:
    """JSON on standard output; on one ``line`` where lines of events come before it."""
    print(json.dumps(value, indent=None if line else 2, ensure_ascii=False, default=str))


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows as a table; a column's title is its key."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        made.add_row(*(escape(_cell(row.get(column, ""))) for column in columns))
    out.print(made)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def models_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """The catalog, what can be used here first; memory is what tuning needs by the method."""
    shown = [
        {
            "model": row["id"],
            "kind": row["architecture"],
            "parameters": f"{row['parameters'] / 1e6:,.1f} M" if row["parameters"] else "",
            "context": row["context_tokens"] or "",
            "licence": row["licence"],
            "languages": row["languages"],
            **{
                name: f"{row['memory_bytes'][name] / 1e9:.1f} GB" if row["memory_bytes"] else "" for name in ("full", "lora", "top", "head")
            },
            "here": row["usable"],
            "why not": row["why_not"],
        }
        for row in sorted(rows, key=lambda row: not row["usable"])
    ]
    table(shown, list(shown[0]) if shown else ["model"])


def plan_table(plan: Plan, *, everything: bool = False) -> None:
    """What will happen. What was only defaulted is shown with ``everything``."""
    err.print(f"[bold]plan {escape(plan.name)}[/bold]: {plan.task} with {plan.model}")
    made = Table(box=None, pad_edge=False, show_header=False)
    for section in SECTIONS:
        for name, value in getattr(plan, section).model_dump().items():
            origin = plan.origins.get(f"{section}.{name}", "default")
            if everything or origin != "default":
                made.add_row(f"  {section}.{name}", escape(_cell(value)), f"[dim]{escape(origin)}[/dim]")
    err.print(made)
    for note in plan.notes:
        err.print(f"  [dim]· {escape(note)}[/dim]")
