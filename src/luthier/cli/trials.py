"""Commands that train a recipe more than once: ``compare`` sets several ways side by side, ``tune`` searches the best settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from luthier.cli.start import AsJson, Sets, Sinks, recipe, service

Vary = Annotated[list[str] | None, typer.Option("--vary", help="field=value,value: each is tried; several make a grid")]
Also = Annotated[list[str] | None, typer.Option("--also", help="one more way: settings with spaces between; '' is the recipe as it is")]


def compare(
    names: list[str], vary: Vary = None, also: Also = None, sets: Sets = None, sinks: Sinks = None, as_json: AsJson = False
) -> None:
    """Set recipes, runs, models or evaluations side by side: scores, rare classes, seconds, response time, paired tests."""
    from luthier.app import comparing
    from luthier.cli import show

    opened = service(as_json=as_json, sinks=sinks)
    found = comparing.contenders(opened, names, settings=sets or [], vary=vary or [], also=also or [])
    said = comparing.table(opened, found)
    if as_json:
        show.as_json(said, line=True)
        return
    show.table([_row(one) for one in said["rows"]], list(_row(said["rows"][0])))
    for one in said["rows"][1:]:
        show.out.print(f"  {show.plain(one['test']['saying'])}" + _corrected(one["test"]))


def tune(
    path: Annotated[Path, typer.Argument(metavar="RECIPE")],
    trials: Annotated[int, typer.Option(min=1, help="trials in all; the same command with more goes on")] = 20,
    axes: Annotated[
        list[str] | None,
        typer.Option("--search", help="field=log:1e-5:1e-3, field=0:0.3, field=int:2:6 or field=a,b,c; none: what the method names"),
    ] = None,
    name: Annotated[str, typer.Option(help="of the search; empty: the recipe's")] = "",
    seed: Annotated[int, typer.Option(min=0, help="of what is tried")] = 29,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what it would cost, train nothing")] = False,
    sets: Sets = None,
    sinks: Sinks = None,
    as_json: AsJson = False,
) -> None:
    """Search the settings of a recipe, judged on validation rows only; a killed search goes on where it was."""
    from luthier.app import searching
    from luthier.cli import show

    opened = service(as_json=as_json, sinks=sinks)
    spec = recipe(path, sets)
    asked = searching.Asked(spec, searching.space(opened, spec, axes or []), trials, seed, name)
    if dry_run:
        found = searching.cost(opened, asked)
        show.as_json(found, line=True) if as_json else show.out.print(_price(found))
        return
    said = searching.search(opened, asked, tell=(lambda text: None) if as_json else (lambda text: show.err.print(show.plain(text))))
    if as_json:
        show.as_json(said, line=True)
        return
    show.table([_trial(one) for one in said["trials"]], ["trial", "state", "value", "epochs", "seconds", *said["axes"]])
    if said["best"]:
        show.out.print(f"best: trial {said['best']['trial']}, {said['metric']} {said['best']['value']:.4f} on validation rows")
        show.out.print(f"  run it: luthier run {said['folder']}/best.yaml\n  picture: {said['folder']}/search.svg")


def _price(found: dict[str, Any]) -> str:
    least, most = found["trial_s"]
    axes = "\n".join(f"  {field}={said}" for field, said in found["axes"].items())
    return f"{found['trials']} trials of {least:,.0f} to {most:,.0f} s: {found['most_s'] / 60:,.1f} min at the most\n{axes}"


def _trial(one: dict[str, Any]) -> dict[str, Any]:
    value = one["value"] if one["value"] is not None else (list(one["curve"].values()) or [""])[-1]
    shown = f"{value:.4f}" if isinstance(value, float) else ""
    return {**one, "value": shown, "seconds": f"{one['seconds']:.1f}" if "seconds" in one else "", **one["values"]}


def _row(one: dict[str, Any]) -> dict[str, str]:
    seconds = {"train": f"{one['train_s']:,.1f} s"}
    seconds["a row"] = f"{one['ms_per_row']:.2f} ms" if "ms_per_row" in one else ""
    seconds["response"] = f"{one['response_ms']:.2f} ms" if "response_ms" in one else ""
    test = f"{one['test']['p_mid']:.3g}" if "p_mid" in one.get("test", {}) else ""
    return {"name": one["name"], **{name: _score(score) for name, score in one["scores"].items()}, **seconds, "p": test}


def _score(one: dict[str, float]) -> str:
    between = f" ({one['low']:.3f}-{one['high']:.3f})" if "low" in one else ""
    return f"{one['value']:.4f}{between}"


def _corrected(test: dict[str, Any]) -> str:
    return f" (p {test['p_holm']:.3g} corrected for the number of tests)" if test.get("p_holm", 0) != test.get("p_mid", 0) else ""
