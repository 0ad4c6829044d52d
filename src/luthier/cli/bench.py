"""``luthier bench``: how much load an endpoint carries within an objective, as a table, a page and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from luthier.cli.reach import Key, Url
from luthier.cli.start import AsJson
from luthier.core.errors import InputError

if TYPE_CHECKING:
    from luthier.client.load.measuring import Load
    from luthier.client.load.step import Step

MOST_BODIES = 10_000
MADE = 500


class Ended(SystemExit):
    """Ctrl-C, after what was measured was shown."""


def bench(
    endpoint: str,
    clients: Annotated[int, typer.Option(min=1, max=4096, help="connections at most; requests beyond them wait, and that is counted")] = 64,
    slo: Annotated[list[str] | None, typer.Option("--slo", help="p50|p95|p99=50ms (or s), errors=1%; again for more")] = None,
    texts: Annotated[Path | None, typer.Option(help="a text a line, or a body a line (.jsonl); without it: made support messages")] = None,
    duration_s: Annotated[float, typer.Option("--duration-s", min=1, max=86_400, help="seconds for everything")] = 60.0,
    seed: Annotated[int, typer.Option(help="of the arrivals")] = 0,
    page: Annotated[Path | None, typer.Option(help="where the page with the picture goes; bench-ENDPOINT.html here without it")] = None,
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Load an endpoint more and more: latency against load, and the most that stays within an objective."""
    from luthier.app import load_picture
    from luthier.cli import show
    from luthier.client.connection import OWN, Connection, part
    from luthier.client.load.measuring import Load, measure
    from luthier.client.load.objective import objectives
    from luthier.store import files

    wanted, bodies = objectives(slo or []), _bodies(texts)
    with _server(endpoint, url, key, duration_s) as (address, secret):
        load = Load(endpoint, Connection(address).url, clients, wanted, seed)
        with _Progress(load) as progress:
            measure(load, f"{OWN}/endpoints/{part(endpoint)}/predict", bodies, key=secret, duration_s=duration_s, tell=progress.tell)
    said = load.as_json()
    target = page or Path(f"bench-{endpoint}.html")
    if load.steps:
        files.write_text(target, load_picture.page(said))
    if as_json:
        show.as_json(said | {"page": str(target) if load.steps else ""})
    else:
        _shown(said, str(target))
    if load.limited_by == "stopped":
        raise Ended(130)
    if not load.best:
        raise typer.Exit(1)


@contextmanager
def _server(endpoint: str, url: str, key: str, for_s: float) -> Iterator[tuple[str, str]]:
    from luthier.cli import show

    if url:
        yield url, key
        return
    from luthier.app.asking import server_of
    from luthier.app.keys import ERRAND_S
    from luthier.app.service import Service

    if for_s > ERRAND_S - 60:
        raise InputError(f"--duration-s {for_s:g}: without --url at most {ERRAND_S - 60}", "luthier serve, and bench with --url and --key")
    with server_of(Service(), endpoint) as (address, secret, running):
        show.err.print(f"[dim]{'the server at' if running else 'a server started for this at'} {address}[/dim]")
        yield address, secret


def _bodies(path: Path | None) -> list[bytes]:
    """What is sent, in turn."""
    if path is None:
        from luthier.catalog import made

        return [_body({"text": str(row["text"])}) for row in made.make("support-messages", MADE)]
    found: list[bytes] = []
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    found.append(_body(_object(path, number, line) if path.suffix == ".jsonl" else {"text": line.strip()}))
                if len(found) == MOST_BODIES:
                    break
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}", "give a file of UTF-8 text") from None
    if not found:
        raise InputError(f"{path}: no line has a text", "write a text a line")
    return found


def _body(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _object(path: Path, number: int, line: str) -> Any:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path}:{number}: not JSON: {error}", "one whole JSON object a line") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}:{number}: not an object", 'write {"text": "..."}')
    return value


class _Progress:
    """What is done now and the time left, and a line for each step that ended; on standard error."""

    def __init__(self, load: Load) -> None:
        from luthier.cli import show

        self.load, self.err = load, show.err
        self._status = self.err.status("...")

    def __enter__(self) -> _Progress:
        if sys.stderr.isatty():
            self._status.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._status.stop()

    def tell(self, what: str, step: Step | None, left_s: float) -> None:
        """One thing more."""
        from luthier.app.load_picture import row
        from luthier.sinks.terminal import duration

        if step is None:
            self._status.update(f"{what}, about {duration(max(0.0, left_s))} left")
            return
        load, answered, _requests, p50, p95, p99, errors, *_own, result = row(step.as_json(self.load.wanted))
        times = f"p50 {p50}  p95 {p95}  p99 {p99} ms"
        said = f"{load:>8}/s  answered {answered:>7}/s  {times}  errors {errors}  {result}"
        self.err.print(f"{said}  [dim]{duration(max(0.0, left_s))} left[/dim]", soft_wrap=True)


def _shown(said: dict[str, Any], page: str) -> None:
    from luthier.app import load_picture
    from luthier.cli import show

    if said["steps"]:
        rows = [dict(zip(load_picture.COLUMNS, load_picture.row(step), strict=True)) for step in load_picture.ordered(said["steps"])]
        show.table(rows, load_picture.COLUMNS)
    show.out.print(f"\n[bold]{show.plain(load_picture.verdict(said))}[/bold]" if said["steps"] else "nothing was measured")
    for note in said["notes"]:
        show.out.print(f"  [dim]· {show.plain(note)}[/dim]")
    if said["steps"]:
        show.out.print(f"page: {show.plain(page)}")
