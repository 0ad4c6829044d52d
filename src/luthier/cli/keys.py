"""``luthier keys`` and ``luthier workspaces``: who may ask a server, for whom, and how much; on the machine that holds the database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from luthier.app.keys import KeyInfo, Keys
    from luthier.app.workspaces import WorkspaceInfo, Workspaces

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="API keys: make, list, revoke, rotate.")
workspaces = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Workspaces, which cannot see each other, and their limits.")

AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Named = Annotated[str, typer.Option("--workspace", help="whose key it is")]
Switch = Annotated[bool | None, typer.Option()]
Count = Annotated[int | None, typer.Option(min=0, help="0: without limit")]


def _engine() -> Any:
    from luthier.store.workspace import Workspace

    return Workspace().engine()


def _keys() -> Keys:
    from luthier.app.keys import Keys

    return Keys(_engine())


def _all() -> Workspaces:
    from luthier.app.workspaces import Workspaces

    return Workspaces(_engine())


@app.command()
def create(
    scopes: Annotated[list[str], typer.Option("--scope", help="admin, train, deploy, infer or read; give it several times")],
    name: Annotated[str, typer.Option(help="what you recognise it by")] = "",
    workspace: Named = "default",
    expires_in: Annotated[int, typer.Option(min=0, help="seconds until it is invalid; 0: never")] = 0,
    requests_per_minute: Annotated[int | None, typer.Option(min=0, help="0: without limit; left out: the server's")] = None,
    concurrent: Annotated[int | None, typer.Option(min=0, help="requests at once; 0: without limit; left out: the server's")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown this once."""
    given = {"requests_per_minute": requests_per_minute, "concurrent": concurrent}
    limits = {key: value for key, value in given.items() if value is not None}
    wanted = [word for scope in scopes for word in scope.replace(",", " ").split()]
    _show(*_keys().create(workspace, name, wanted, expires_in_s=expires_in, limits=limits), as_json)


@app.command("list")
def list_keys(
    workspace: Named = "default",
    ended: Annotated[bool, typer.Option("--ended", help="those too that were revoked or have expired")] = False,
    as_json: AsJson = False,
) -> None:
    """List keys, newest first."""
    from luthier.cli import show

    found, more, after = [], True, ""
    while more:
        page, more = _keys().list(workspace, after=after, ended=ended)
        found += [key.as_json() for key in page]
        after = page[-1].id if page else ""
    if as_json:
        show.as_json(found)
        return
    rows = [row | {"expires": _when(row["expires_at"]), "last_used": _when(row["last_used_at"])} for row in found]
    show.table(rows, ["id", "prefix", "name", "scopes", "state", "expires", "last_used"])


@app.command()
def revoke(key: str, workspace: Named = "default", as_json: AsJson = False) -> None:
    """Make a key invalid at once."""
    from luthier.cli import show

    done = _keys().revoke(workspace, key)
    show.as_json(done.as_json(), line=True) if as_json else show.out.print(f"{done.id} is {done.state(time.time())}")


@app.command()
def rotate(key: str, workspace: Named = "default", as_json: AsJson = False) -> None:
    """Give a key a new secret; the old one is invalid at once."""
    _show(*_keys().rotate(workspace, key), as_json)


def _show(made: KeyInfo, secret: str, as_json: bool) -> None:
    from luthier.cli import show

    if as_json:
        show.as_json(made.as_json() | {"key": secret}, line=True)
    else:  # not by a table, which would break the line
        print(f"{secret}\n  {made.id}: {', '.join(made.scopes)} in {made.workspace}; it is shown this once")


def _when(at: int | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) if at else "never"


@workspaces.command("create")
def create_workspace(
    name: str,
    storage_bytes: Count = None,
    jobs_running: Count = None,
    jobs_queued: Count = None,
    mask_files: Switch = None,
    webhook_private: Switch = None,
    as_json: AsJson = False,
) -> None:
    """Make a workspace; luthier keys create --workspace NAME --scope admin makes its first key."""
    _told(_all().create(name, _given(storage_bytes, jobs_running, jobs_queued, mask_files, webhook_private)), as_json)


@workspaces.command("list")
def list_workspaces(as_json: AsJson = False) -> None:
    """List workspaces and their settings; 0 is without limit."""
    from luthier.cli import show

    rows = [one.as_json() for one in _all().list()]
    if as_json:
        show.as_json(rows)
        return
    flat = [{"name": row["id"], **row["settings"]} for row in rows]
    show.table(flat, list(flat[0]))


@workspaces.command("set")
def set_workspace(
    name: str,
    storage_bytes: Count = None,
    jobs_running: Count = None,
    jobs_queued: Count = None,
    mask_files: Switch = None,
    webhook_private: Switch = None,
    as_json: AsJson = False,
) -> None:
    """Change a workspace's settings; what is left out stays."""
    _told(_all().set(name, _given(storage_bytes, jobs_running, jobs_queued, mask_files, webhook_private)), as_json)


def _given(*values: Any) -> dict[str, Any]:
    """The settings that were given, in the order of ``app.workspaces.SETTINGS``."""
    from luthier.app.workspaces import SETTINGS

    return {name: value for name, value in zip(SETTINGS, values, strict=True) if value is not None}


def _told(found: WorkspaceInfo, as_json: bool) -> None:
    from luthier.cli import show

    if as_json:
        show.as_json(found.as_json(), line=True)
    else:
        show.out.print(found.name, ", ".join(f"{name} {value}" for name, value in found.settings.items()))
