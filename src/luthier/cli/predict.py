"""``luthier predict``: an endpoint's answers for every row of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.reach import Key, Url
from luthier.cli.start import AsJson, pairs


def predict(
    endpoint: str,
    source: Annotated[Path, typer.Option("--input", help="parquet, csv, jsonl, or what else `luthier plugins` reads")],
    output: Annotated[Path, typer.Option("--output", help=".parquet, .csv or .jsonl; refused rows go to OUTPUT.refused.jsonl")],
    columns: Annotated[list[str] | None, typer.Option("--map", help="task column=file column, e.g. text=body")] = None,
    batch: Annotated[int, typer.Option(min=1, max=256, help="rows in a call; small for a model that writes")] = 256,
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Score a file by an endpoint (in this process, or of a server); a killed run goes on where it was."""
    from luthier.app.predicting.answering import Answering, Here, There
    from luthier.app.predicting.parts import check_output
    from luthier.app.predicting.scoring import Scoring
    from luthier.cli import show
    from luthier.core import registry

    check_output(output)
    asked: Answering
    if url:
        from luthier.client import Client

        asked = There(Client(url, key), endpoint)
    else:
        from luthier.app.service import Service

        asked = Here(Service().endpoints.get(endpoint))
    emit = registry.get("sinks", "jsonl" if as_json else "terminal").open("")
    try:
        said = Scoring(asked, source, output, columns=pairs(columns or []), batch=batch, emit=emit, endpoint=endpoint).run()
    finally:
        asked.close()
    if as_json:
        show.as_json(said, line=True)
        return
    show.out.print(f"{said['scored']:,} rows scored, {said['refused']:,} refused, {said['seconds']:g} s\n{show.plain(said['output'])}")
    if said["refused"]:
        show.out.print(f"refused: {show.plain(said['refusals'])}")
