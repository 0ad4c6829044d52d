"""``luthier jobs``: fine-tuning jobs, here or (``--url``) on a server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from luthier.cli.reach import Jobs, Key, Reach, Record, Url, reach
from luthier.core.errors import InputError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Fine-tuning jobs: create, look at, follow, pause, cancel.")

AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Metadata = Annotated[list[str] | None, typer.Option("--metadata", help="key=value; several times")]
Limit = Annotated[int, typer.Option(min=1, max=100, help="most rows")]
After = Annotated[str, typer.Option(help="the last id of the page before")]


@app.command("list")
def list_jobs(
    metadata: Metadata = None, limit: Limit = 20, after: After = "", as_json: AsJson = False, url: Url = "", key: Key = ""
) -> None:
    """List jobs, newest first."""
    page = reach(url, key).jobs.list(limit, after, _pairs(metadata) or None)
    _show(page, ["id", "model", "status", "created", "fine_tuned_model"], as_json, _row)


@app.command()
def get(job: str, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Show one job."""
    _one(reach(url, key).jobs.get(job), as_json)


@app.command()
def create(
    model: Annotated[str, typer.Argument(help="a base of the catalog, a tuned model or a checkpoint")],
    training_file: Annotated[str, typer.Argument(help="a file's id, or a file here: it is uploaded first")],
    validation_file: Annotated[str, typer.Option(help="a file's id, or a file here")] = "",
    suffix: Annotated[str, typer.Option(help="part of the new model's name")] = "",
    seed: Annotated[int | None, typer.Option(help="empty: chosen")] = None,
    metadata: Metadata = None,
    sets: Annotated[list[str] | None, typer.Option("--set", "-s", help="any field, e.g. train.method=lora")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="tell its events until it ends")] = False,
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Create a job; the file decides what is learned."""
    from luthier.core.spec import override

    there = reach(url, key)
    body: Record = {"model": model, "training_file": _file(there, training_file), "suffix": suffix, "metadata": _pairs(metadata)}
    body |= {"validation_file": _file(there, validation_file) if validation_file else ""}
    body = {name: value for name, value in body.items() if value} | ({} if seed is None else {"seed": seed})
    made = there.jobs.create(override(body, sets or []))
    _one(made, as_json)
    if follow:
        _follow(there.jobs, made["id"], as_json)


@app.command()
def cancel(job: str, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """End a job within a step; what it reached stays as a checkpoint."""
    _one(reach(url, key).jobs.cancel(job), as_json)


@app.command()
def pause(job: str, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Halt a job after its present step."""
    _one(reach(url, key).jobs.pause(job), as_json)


@app.command()
def resume(job: str, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Let a paused job go on."""
    _one(reach(url, key).jobs.resume(job), as_json)


@app.command()
def delete(job: str, url: Url = "", key: Key = "") -> None:
    """Take a finished job out of the lists; its model stays."""
    reach(url, key).jobs.delete(job)


@app.command()
def events(
    job: str,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="from the first one on, until the job ends")] = False,
    limit: Limit = 20,
    after: After = "",
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """What a job said, newest first; with --follow in order, as it comes."""
    jobs = reach(url, key).jobs
    if follow:
        _follow(jobs, job, as_json)
    else:
        _show(jobs.events(job, limit, after), ["created", "level", "message"], as_json, _row)


@app.command()
def checkpoints(job: str, limit: Limit = 10, after: After = "", as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """A job's checkpoints, newest first; each can be asked and deployed by its name."""
    page = reach(url, key).jobs.checkpoints(job, limit, after)
    _show(page, ["fine_tuned_model_checkpoint", "step_number", "created", "metrics"], as_json, _row)


def _follow(jobs: Jobs, job: str, as_json: bool) -> None:
    """Tells a job's events until it ends; code 1 when it did not end well."""
    from luthier.cli import show
    from luthier.client import follow

    for event in follow(jobs, job):
        show.as_json(event, line=True) if as_json else print(f"{_clock(event['created_at'])}  {event['message']}", flush=True)
    if jobs.get(job)["status"] in ("failed", "cancelled"):
        raise typer.Exit(1)


def _file(there: Reach, name: str) -> str:
    """The id of a file: as it is, or of what is uploaded now."""
    if name.startswith("file-") and not Path(name).exists():
        return name
    return str(there.files.upload(Path(name))["id"])


def _pairs(given: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in given or []]
    for name, sign, _ in pairs:
        if not (name and sign):
            raise InputError(f"--metadata {name!r} is not a pair", "write --metadata team=blue")
    return {name: value for name, _, value in pairs}


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _row(one: Record) -> Record:
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in (one.get("metrics") or {}).items() if name != "step")
    return one | {"created": _clock(one["created_at"]), "metrics": metrics, "fine_tuned_model": one.get("fine_tuned_model") or ""}


def _show(page: Record, columns: list[str], as_json: bool, row: Any) -> None:
    from luthier.cli import show

    show.as_json(page["data"]) if as_json else show.table([row(one) for one in page["data"]], columns)


def _one(job: Record, as_json: bool) -> None:
    """A job: its id, how it stands, and why it failed."""
    from luthier.cli import show

    if as_json:
        show.as_json(job, line=True)
        return
    said = [job["id"], job["status"], job["fine_tuned_model"] or f"of {job['model']}"]
    print("  ".join(said))
    error = job.get("error") or {}
    if error.get("message"):
        print(f"  {error['message']}")
