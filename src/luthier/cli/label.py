"""``luthier label``: from messages to labels, with people; here or (``--url``) on a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from luthier.cli.reach import Key, Record, Url, reach
from luthier.core.errors import InputError

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Labels made with people: new, run, undo, share, agreement, doubts, export."
)

AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Author = Annotated[str, typer.Option("--author", envvar="LUTHIER_AUTHOR", help="who labels; without it: the name of the user here")]
Map = Annotated[list[str] | None, typer.Option("--map", help="text=COLUMN, label=COLUMN or entities=COLUMN of the file")]
ReadAs = Annotated[str, typer.Option("--format", help="a registered format; empty: decided by the file")]


def _author(given: str) -> str:
    import getpass

    return given or getpass.getuser()


@app.command()
def new(
    name: str,
    files: Annotated[
        list[str] | None, typer.Argument(help="messages, perhaps with labels: CSV, JSONL, Parquet, Label Studio's JSON ...")
    ] = None,
    kind: Annotated[str, typer.Option(help="label (one), labels (several) or spans")] = "label",
    labels: Annotated[str, typer.Option(help="the labels, with commas between; those in the files are known too")] = "",
    encoder: Annotated[str, typer.Option(help="base encoder for the vectors")] = "",
    model: Annotated[str, typer.Option(help="a trained model or endpoint that suggests")] = "",
    dataset: Annotated[str, typer.Option("--from", help="a dataset of this workspace whose rows and labels to begin with")] = "",
    columns: Map = None,
    read_as: ReadAs = "",
    author: Author = "",
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Make a labelling, and put messages into it."""
    there = reach(url, key).labellings
    if dataset and url:
        raise InputError("--from reads a dataset of this machine", "export it to a file and name that")
    given = {"kind": kind, "labels": [one.strip() for one in labels.split(",") if one.strip()], "encoder": encoder, "model": model}
    made = there.create(name, **given, dataset=dataset, author=_author(author))
    try:
        said = _add(there, made, files or [], columns, read_as, dataset, author)
    except BaseException:
        there.delete(name)  # what could not be filled is not left behind
        raise
    _told(name, said, as_json)


@app.command()
def add(
    name: str,
    files: list[str],
    columns: Map = None,
    read_as: ReadAs = "",
    author: Author = "",
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Put more messages (or labels that were made elsewhere) into a labelling."""
    there = reach(url, key).labellings
    _told(name, _add(there, there.get(name), files, columns, read_as, "", author), as_json)


def _add(there: Any, made: Record, files: list[str], columns: list[str] | None, read_as: str, dataset: str, author: str) -> Record:
    unread: list[str] = []
    rows = _rows(made["kind"], files, columns, read_as, dataset, unread.append)
    said: Record = there.add(made["name"], rows, _author(author))
    return said | {"unread": unread}


def _rows(kind: Any, files: Iterable[str], columns: list[str] | None, read_as: str, dataset: str, refuse: Any) -> Iterator[Record]:
    from luthier.app.labelling_files import rows_of_dataset, rows_of_files
    from luthier.core.plan import DataPlan

    if dataset:
        from luthier.app.service import Service

        yield from rows_of_dataset(kind, Service().artifact(dataset, "dataset"))
    names = list(files)
    if names:
        pairs = dict(_pair(one) for one in columns or [])
        yield from rows_of_files(kind, DataPlan(train=names, map=pairs, format=read_as), refuse)


def _pair(text: str) -> tuple[str, str]:
    column, sign, file_column = text.partition("=")
    if not (sign and column and file_column):
        raise InputError(f"--map {text!r} is not a pair", "write text=COLUMN or label=COLUMN")
    return column, file_column


def _told(name: str, said: Record, as_json: bool) -> None:
    from luthier.cli import show

    if as_json:
        show.as_json({"labelling": name, **said}, line=True)
        return
    show.out.print(f"{name}: {said['added']} rows added, {said['known']} were there, {said['labels']} labels")
    refused = [f"row {one['row']}: {one['field']}: {one['reason']}" for one in said["refusals"]] + said["unread"]
    for line in refused[:20]:
        show.err.print(f"  refused: {line}", markup=False)


@app.command()
def run(
    name: str,
    author: Author = "",
    count: Annotated[int, typer.Option(min=0, help="end after so many rows; 0: when all are done")] = 0,
    plain: Annotated[bool, typer.Option("--plain", help="read answers from standard input, a line each; no colours, no keys")] = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Label: the most useful rows first, each with a suggestion to accept or correct."""
    import sys

    from luthier.cli.label_view import Keys, Plain, label

    there = reach(url, key).labellings
    about = there.get(name)
    if about["kind"] == "spans":
        raise InputError(
            "the terminal labels messages, not spans", "POST /api/v1/labellings/NAME/labels, or Label Studio: luthier label export"
        )
    view = Plain(sys.stdin) if plain or not sys.stdin.isatty() else Keys()
    there.ready(name, view.preparing)
    label(there, about, _author(author), view, count)


@app.command("list")
def list_labellings(as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """List labellings, newest first."""
    from luthier.cli import show

    rows = reach(url, key).labellings.list(100)["data"]
    show.as_json(rows) if as_json else show.table(rows, ["name", "kind", "encoder", "model", "author"])


@app.command("show")
def show_labelling(name: str, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Show how far a labelling is, and who labelled how much."""
    from luthier.cli import show

    found = reach(url, key).labellings.get(name)
    if as_json:
        show.as_json(found)
        return
    show.out.print(
        f"{found['name']}: {found['kind']}, {len(found['labels'])} labels, " + ", ".join(f"{n} {v}" for n, v in found["progress"].items())
    )
    show.table(found["authors"], ["author", "labelled", "seconds_a_label", "accepted_share"])


@app.command()
def undo(name: str, author: Author = "", as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Take your last label back."""
    from luthier.cli import show

    said = reach(url, key).labellings.undo(name, _author(author))
    show.as_json(said, line=True) if as_json else show.out.print(
        f"taken back: {said['undone']['verb']} {said['undone']['value']}", markup=False
    )


@app.command()
def settle(
    name: str,
    row: str,
    value: str,
    author: Author = "",
    new_label: Annotated[bool, typer.Option("--new", help="the label may be one that nobody used before")] = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Say the final label of a row on which people differ (several: with commas between)."""
    there = reach(url, key).labellings
    several = there.get(name)["kind"] == "labels"
    given: Any = [one.strip() for one in value.split(",") if one.strip()] if several else value
    there.say(name, [{"row": row, "verb": "settle", "value": given, "new": new_label}], _author(author))


@app.command()
def share(
    name: str,
    count: Annotated[int, typer.Option(min=1, help="rows that every author labels")] = 50,
    author: Author = "",
    url: Url = "",
    key: Key = "",
) -> None:
    """Give rows, drawn at random, to every author: agreement is measured on them."""
    from luthier.cli import show

    show.out.print(f"{reach(url, key).labellings.share(name, count, _author(author))['shared']} rows go to everybody")


@app.command()
def agreement(name: str, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Show Cohen's kappa of each two authors, and where they differ."""
    from luthier.cli import show

    pairs = reach(url, key).labellings.agreement(name)
    if as_json:
        show.as_json(pairs)
        return
    for pair in pairs:
        kappa = "not defined" if pair["kappa"] is None else f"{pair['kappa']:.3f}"
        show.out.print(f"{' and '.join(pair['authors'])}: kappa {kappa}, {pair['agreed']} of {pair['rows']} rows alike", markup=False)
        rows = [
            {"row": one["row"], "text": one["text"][:80], **{who: str(v) for who, v in one["labels"].items()}}
            for one in pair["disagreements"]
        ]
        if rows:
            show.table(rows, ["row", "text", *pair["authors"]])


@app.command()
def doubts(name: str, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """List labels that are likely wrong, by models that have not seen the row."""
    from luthier.cli import show

    found = reach(url, key).labellings.doubts(name)
    if as_json:
        show.as_json(found)
        return
    show.out.print(f"{found['found']} labels are likely wrong ({found['share']:.1%})")
    rows = [{**one, "text": one["text"][:80], "given": str(one["given"]), "suggested": str(one["suggested"])} for one in found["rows"]]
    show.table(rows, ["row", "text", "given", "suggested", "chance_of_given"])


@app.command()
def export(
    name: str,
    form: Annotated[str, typer.Option("--as", help="jsonl, csv, label-studio or conll")] = "jsonl",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="write to this file")] = None,
    url: Url = "",
    key: Key = "",
) -> None:
    """Write the labels to a file that luthier prepare and run read, or that Label Studio imports."""
    from luthier.store import files

    text = reach(url, key).labellings.export(name, form)
    files.write_text(out, text) if out is not None else print(text, end="")


@app.command()
def dataset(
    name: str,
    sets: Annotated[list[str] | None, typer.Option("--set", "-s", help="dotted.path=value, e.g. prepare.seed=3")] = None,
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Make a dataset of the labels, here; of a server (--url) an uploaded file that its jobs take."""
    from luthier.cli import show

    made = reach(url, key).labellings.dataset(name, sets or [])
    show.as_json(made, line=True) if as_json else show.out.print(made["id"])


@app.command()
def delete(name: str, url: Url = "", key: Key = "") -> None:
    """Remove a labelling with its rows and everything that was said."""
    reach(url, key).labellings.delete(name)
