"""What most commands begin with: the service of this machine, and a recipe with the settings of the command line over it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from luthier.core.errors import InputError

if TYPE_CHECKING:
    from luthier.app.service import Service

Sets = Annotated[list[str] | None, typer.Option("--set", "-s", help="dotted.path=value, e.g. train.epochs=3")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Sinks = Annotated[list[str] | None, typer.Option("--sink", help="name or name:target, e.g. mlflow:http://127.0.0.1:5000; again for more")]


def service(*, progress: bool = True, as_json: bool = False, sinks: list[str] | None = None) -> Service:
    """The workspace's service; what happens is shown in the terminal, or as lines of JSON."""
    from luthier.app.service import Service
    from luthier.app.sinks import opened
    from luthier.core import registry

    name = "jsonl" if as_json else "terminal"
    made = Service(sinks=[registry.get("sinks", name).open("")] if progress else [])
    made.sinks += opened(sinks or [], made.emit)
    return made


def recipe(path: Path, sets: list[str] | None) -> Any:
    """The spec in a file, with settings over it."""
    from luthier.core.spec import make_spec, override, read_spec

    written = read_spec(path).model_dump(exclude_unset=True)
    return make_spec(override(written, sets or []), str(path))


def settings(sets: list[str] | None, **given: Any) -> Any:
    """A spec of what was given, with settings over it."""
    from luthier.core.spec import make_spec, override

    return make_spec(override({key: value for key, value in given.items() if value}, sets or []))


def pairs(items: list[str]) -> dict[str, str]:
    """What ``--map`` was given: task column -> file column. "text=body label=topic" are two pairs; "text=Review Text" is one."""
    return dict(_pair(pair) for item in items for pair in (item.split() if item.count("=") > 1 else [item.strip()]))


def _pair(text: str) -> tuple[str, str]:
    task_column, sign, file_column = text.partition("=")
    if not (sign and task_column and file_column):
        raise InputError(f"--map {text!r} is not a pair", "write task column=file column, e.g. --map text=body label=topic")
    return task_column, file_column
