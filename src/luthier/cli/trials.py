"""Commands that train a recipe more than once: ``compare`` sets several ways side by side."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from luthier.cli.start import AsJson, Sets, Sinks, service

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
