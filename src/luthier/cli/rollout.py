"""``luthier deploy`` and ``luthier rollout``: a model gets an endpoint's traffic at once, in steps, or back again."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.reach import Key, Record, Url, reach
from luthier.cli.start import AsJson, Sets
from luthier.core.errors import InputError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Versions of endpoints: status, promote, abort, back, traffic, remove.")


def deploy(
    model: str,
    endpoint: Annotated[str, typer.Option("--endpoint", "-e")],
    force: bool = False,
    canary: Annotated[str, typer.Option(help="percents of the traffic, one after the other, e.g. 5,25,100")] = "",
    step_s: Annotated[float, typer.Option("--step-s", min=0, help="seconds of a step of the canary")] = 600,
    mirror: Annotated[int, typer.Option(min=0, max=100, help="percent of requests that it answers too, for comparison only")] = 0,
    beside: Annotated[bool, typer.Option("--beside", help="open it without traffic (blue/green)")] = False,
    sets: Sets = None,
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Make an endpoint answer with an export (or with the newest export of a model, or a tuned model), if the gate passes."""
    from luthier.cli import show

    there = reach(url, key)
    if not (canary or mirror or beside):
        made = there.deploy(model, endpoint, force=force)
        show.as_json(made, line=True) if as_json else show.out.print(f"{made['endpoint']} answers with {made['export'] or model}")
        return
    wish = _rules(sets) | ({"canary": _shares(canary), "step_s": step_s} if canary else {}) | ({"mirror": mirror} if mirror else {})
    _show(there.roll_out(model, endpoint, wish, force=force), as_json)


def _rules(sets: list[str] | None) -> Record:
    """What ``--set deploy.max_error_rise=0.02`` says."""
    from luthier.cli.start import settings

    found: Record = settings(sets, name="rollout").deploy
    return found


def _shares(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--canary {text!r} is no list of percents", "write e.g. --canary 5,25,100") from None


def _show(said: Record, as_json: bool) -> None:
    from luthier.cli import show

    if as_json:
        show.as_json(said, line=True)
        return
    rows = [one | {"traffic %": one["traffic"], "mirror %": one["mirror"]} for one in said["versions"]]
    show.out.print(f"[bold]{show.plain(said['endpoint'])}[/bold]")
    show.table(rows, ["name", "state", "traffic %", "mirror %", "replaces", "model", "export"])
    found = said["rollout"]
    if found is None:
        return
    steps = ", ".join(f"{share} %" for share in found["steps"])
    show.out.print(f"\n{found['candidate']} against {found['against']}: {found['state']}, at {found['share']} % (steps {steps})")
    if found["decision"].get("reason"):
        show.out.print(f"  {show.plain(found['decision']['reason'])}")
    for finding in found["decision"].get("findings", []):
        show.out.print(f"  {show.plain(finding['said'])}")


@app.command()
def status(endpoint: Annotated[str, typer.Argument()] = "", as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Show an endpoint's versions, its traffic and its rollout; without a name those of every endpoint."""
    from luthier.cli import show

    found = reach(url, key).rollouts
    if endpoint:
        _show(found.get(endpoint), as_json)
        return
    every = found.list()
    rows = every["data"] if isinstance(every, dict) else every
    if as_json:
        show.as_json(rows)
        return
    for one in rows:
        _show(one, as_json=False)


@app.command()
def promote(endpoint: str, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Give the candidate all traffic now."""
    _show(reach(url, key).rollouts.promote(endpoint), as_json)


@app.command()
def abort(endpoint: str, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """End a rollout: all traffic goes back, and what the candidate had queued is answered."""
    _show(reach(url, key).rollouts.abort(endpoint), as_json)


@app.command()
def back(endpoint: str, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Answer with the version before the present one again."""
    _show(reach(url, key).rollouts.back(endpoint), as_json)


@app.command()
def traffic(
    endpoint: str,
    shares: Annotated[list[str], typer.Argument(help="version=percent, e.g. v1=50 v2=50")],
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Share the traffic among open versions by hand; the shares sum to 100."""
    _show(reach(url, key).rollouts.traffic(endpoint, dict(map(_share, shares))), as_json)


def _share(text: str) -> tuple[str, int]:
    name, sign, share = text.partition("=")
    if not (sign and name and share.isdecimal()):
        raise InputError(f"{text!r} is no share", "write version=percent, e.g. v2=100")
    return name, int(share)


@app.command()
def remove(endpoint: str, version: str, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Close a version and forget it; refused while it holds traffic."""
    _show(reach(url, key).rollouts.remove(endpoint, version), as_json)
