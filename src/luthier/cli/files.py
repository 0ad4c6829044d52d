"""``luthier files``: training data that was uploaded, here or (``--url``) on a server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.reach import Key, Record, Url, reach
from luthier.core.errors import InputError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Uploaded files: send, look at, check, fetch, delete.")

AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command("list")
def list_files(
    purpose: str = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="most rows")] = 20,
    after: Annotated[str, typer.Option(help="the last id of the page before")] = "",
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """List files, newest first."""
    from luthier.cli import show

    rows = reach(url, key).files.list(limit, after, purpose=purpose)["data"]
    if as_json:
        show.as_json(rows)
        return
    shown = [row | {"created": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["created_at"]))} for row in rows]
    show.table(shown, ["id", "filename", "bytes", "purpose", "status", "created"])


@app.command()
def upload(
    paths: list[Path],
    purpose: str = "fine-tune",
    expires_after: Annotated[int, typer.Option(min=0, help="seconds until it is deleted; 0: never")] = 0,
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Send files; each is checked row by row."""
    files = reach(url, key).files
    for path in paths:
        _one(files.upload(path, purpose, expires_after_s=expires_after), as_json)


@app.command()
def get(
    file: str,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="write what is in it to this path")] = None,
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Show a file's state, or (--out) fetch what is in it."""
    files = reach(url, key).files
    _one(files.get(file), as_json)
    if out is not None:
        files.content(file, out)


@app.command()
def check(file: str, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Wait until a file is checked; code 1, with the rows that are wrong, when it cannot be used."""
    found = reach(url, key).files.check(file)
    _one(found, as_json)
    if found["status"] == "error":
        raise InputError(
            f"{found['filename']}: {found.get('status_details') or 'cannot be used'}", "correct these rows and upload it again"
        )


@app.command()
def delete(file: str, url: Url = "", key: Key = "") -> None:
    """Remove a file that no unfinished job uses."""
    reach(url, key).files.delete(file)


def _one(found: Record, as_json: bool) -> None:
    from luthier.cli import show

    if as_json:
        show.as_json(found, line=True)
    else:
        print(f"{found['id']}  {found['status']}  {found['filename']}")
