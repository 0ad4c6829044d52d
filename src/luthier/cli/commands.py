"""Every command: a few lines over ``app.service``. Heavy imports wait until a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from luthier.cli import files, jobs, keys, label, rollout, trials
from luthier.cli.bench import bench
from luthier.cli.predict import predict
from luthier.cli.reach import Key, Url, reach
from luthier.cli.start import AsJson, Sets, Sinks
from luthier.cli.start import recipe as _recipe
from luthier.cli.start import service as _service
from luthier.cli.start import settings as _settings
from luthier.core.errors import InputError

if TYPE_CHECKING:
    from luthier.app.service import Service
    from luthier.core.plan import Plan
    from luthier.core.types import Artifact

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From a file of examples to a deployed model that is watched.",
)

app.add_typer(jobs.app, name="jobs")
app.add_typer(files.app, name="files")
app.add_typer(label.app, name="label")
app.add_typer(rollout.app, name="rollout")
app.add_typer(keys.app, name="keys")
app.add_typer(keys.workspaces, name="workspaces")

JobsAtOnce = Annotated[int, typer.Option(min=0, help="most jobs at once; 0: as many as the machine carries")]


def _done(artifact: Artifact, as_json: bool) -> None:
    from luthier.cli import show

    if as_json:
        show.as_json({"id": artifact.id, "kind": artifact.kind, "path": artifact.path, "parents": artifact.parents}, line=True)
    else:
        show.out.print(f"{artifact.id}\n{artifact.path}")


@app.command()
def run(
    recipe: Path,
    sets: Sets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the plan, run nothing")] = False,
    sinks: Sinks = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe: prepare, train, evaluate, export, deploy; a killed run goes on where it was."""
    from luthier.cli import show

    service = _service(as_json=as_json, sinks=sinks)
    plan = service.plan(_recipe(recipe, sets))
    show.as_json(plan.model_dump(mode="json")) if dry_run and as_json else show.plan_table(plan)
    if dry_run:
        return
    result = service.run(plan)
    answers = _ask(service, plan.deploy.endpoint, plan.ask) if result.endpoint and plan.ask else []
    if as_json:
        made = {kind: made.id for kind in ("dataset", "model", "evaluation", "export") if (made := getattr(result, kind))}
        show.as_json({"run": result.run, **made, "answers": answers, "report": result.report, "seconds": result.seconds}, line=True)
        return
    for text, answer in zip(plan.ask, answers, strict=False):
        _show_answer(text, answer)
    show.out.print(f"\nreport: {result.report}")
    if result.endpoint:
        show.out.print(f"serve it: luthier serve    watch it: luthier watch {result.endpoint.name}")


def _ask(service: Service, endpoint: str, texts: list[str]) -> list[Any]:
    """The answers of the deployed endpoint, over HTTP from a server of our own on a free port."""
    from luthier.app.asking import ask

    return ask(service, endpoint, texts)


def _show_answer(text: str, answer: dict[str, Any]) -> None:
    from rich.markup import escape

    from luthier.cli import show

    said, sure = _said(answer), ""
    if "confidence" in answer:
        sure = "[yellow]not sure[/yellow]" if answer.get("abstained") else f"{answer['confidence']:.0%}"
        sure = f" {sure}, out of scope {answer.get('out_of_scope', 0.0):.2f}"
    show.out.print(f"  [dim]{escape(text)}[/dim]\n    → [bold]{escape(said)}[/bold]{sure}")


def _said(answer: dict[str, Any]) -> str:
    """What is answered, by whichever name the task gives it: a label, intents with entities, a caption, a summary, a message."""
    if isinstance(answer.get("message"), dict):
        return str(answer["message"].get("content") or "")
    parts = [answer[name] for name in ("label", "labels", "intents", "entities", "caption", "summary", "perplexity") if name in answer]
    return "; ".join(", ".join(map(_named, part)) if isinstance(part, list) else str(part) for part in parts)


def _named(one: Any) -> str:
    return str(one.get("label", one)) if isinstance(one, dict) else str(one)


@app.command()
def plan(recipe: Path, sets: Sets = None, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Show what a recipe would do: every value, and where it came from."""
    from luthier.cli import show

    made = reach(url, key).plan(_recipe(recipe, sets))
    show.as_json(made.model_dump(mode="json")) if as_json else show.plan_table(made, everything=True)


@app.command()
def prepare(
    files: list[str],
    sets: Sets = None,
    name: str = "",
    task: str = "text-classification",
    model: str = "all-minilm-l6-v2",
    columns: Annotated[list[str] | None, typer.Option("--map", help="task column=file column, e.g. text=body")] = None,
    group: Annotated[str, typer.Option(help="column that never straddles a split")] = "",
    read_as: Annotated[str, typer.Option("--format", help="a registered format; empty: decided by the file")] = "",
    encoding: Annotated[str, typer.Option(help="text encoding; empty: detected")] = "",
    delimiter: Annotated[str, typer.Option(help="of CSV, a tab is written tab; empty: detected")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="read, check and mask 1,000 rows of each file, write nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Check, mask and split files into a dataset."""
    from luthier.cli import show
    from luthier.cli.start import pairs

    # `--map text=body label=topic`: the shell's words after the first look like files, and are not there as files.
    more = [word for word in files if columns and "=" in word and not Path(word).exists()]
    files = [word for word in files if word not in more]
    if not files:
        raise InputError("no file is given", "luthier prepare tickets.csv --map text=body label=topic")
    said = {"map": pairs([*(columns or []), *more]), "group": group, "format": read_as, "encoding": encoding, "delimiter": delimiter}
    data = {"train": files} | {key: value for key, value in said.items() if value}
    service = _service(as_json=as_json)
    made = service.plan(_settings(sets, name=name or Path(files[0]).stem.replace("made:", ""), task=task, model=model, data=data))
    if dry_run:
        from luthier.stages.prepare import preview

        show.as_json(preview(made))
        return
    _done(service.prepare(made), as_json)


@app.command()
def train(dataset: str, sets: Sets = None, method: str = "", effort: str = "", sinks: Sinks = None, as_json: AsJson = False) -> None:
    """Tune a model on a dataset."""
    service = _service(as_json=as_json, sinks=sinks)
    start = service.artifact(dataset, "dataset")
    dials = {key: value for key, value in (("method", method), ("effort", effort)) if value}
    _done(service.train(_planned(service, _settings(sets, train=dials), start), start), as_json)


def _planned(service: Service, spec: Any, start: Artifact) -> Plan:
    from luthier.cli import show

    made = service.plan(spec, start)
    show.plan_table(made)
    return made


@app.command()
def evaluate(
    model: str,
    sets: Sets = None,
    folds: int = 0,
    compare_to: Annotated[str, typer.Option("--against")] = "",
    sinks: Sinks = None,
    as_json: AsJson = False,
) -> None:
    """Judge a model honestly on its test rows."""
    service = _service(as_json=as_json, sinks=sinks)
    start = service.artifact(model, "model")
    wished = {key: value for key, value in (("folds", folds), ("compare_to", compare_to)) if value}
    _done(service.evaluate(_planned(service, _settings(sets, evaluate=wished), start), start), as_json)


app.command()(trials.compare)
app.command()(trials.tune)


@app.command()
def export(model: str, sets: Sets = None, sinks: Sinks = None, as_json: AsJson = False) -> None:
    """Make the graphs that serve an evaluated model."""
    service = _service(as_json=as_json, sinks=sinks)
    judged = service.evaluation_of(model)
    _done(service.export(_planned(service, _settings(sets), judged), judged), as_json)


app.command()(rollout.deploy)


@app.command()
def endpoints(
    remove: Annotated[str, typer.Option(help="take this endpoint away")] = "", as_json: AsJson = False, url: Url = "", key: Key = ""
) -> None:
    """List the endpoints."""
    from luthier.cli import show

    there = reach(url, key)
    if remove:
        there.undeploy(remove)
    rows = there.endpoints()
    show.as_json(rows) if as_json else show.table(rows, ["name", "task", "export", "model"])


@app.command()
def serve(
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help="inferences at once; 0: one a core")] = 0,
    keep_text: Annotated[bool, typer.Option("--keep-text", help="journal the texts too, personal data masked")] = False,
    no_keys: Annotated[bool, typer.Option("--no-keys", help="ask for no API key; only where this machine alone can ask")] = False,
    requests_per_minute: Annotated[int, typer.Option(min=0, help="of a key without a limit of its own; 0: no limit")] = 0,
    concurrent: Annotated[int, typer.Option(min=0, help="requests at once, of a key without a limit of its own; 0: no limit")] = 0,
    open_metrics: Annotated[bool, typer.Option("--open-metrics", help="/metrics needs no key")] = False,
    no_first_key: Annotated[bool, typer.Option("--no-first-key", hidden=True)] = False,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="run no jobs here: `luthier worker` does, elsewhere")] = False,
    jobs: JobsAtOnce = 0,
) -> None:
    """Be the server of a team: OpenAI's addresses, jobs, endpoints, over HTTP. A worker beside it runs the jobs."""
    from luthier.api import serve as serve_api
    from luthier.api.start import access_for, greeting
    from luthier.app.beside import Beside
    from luthier.app.limits import Limits
    from luthier.app.tuning_sinks import places

    places()  # a setting that cannot be read is said now, not to the caller of the first job
    service = _service(progress=False)
    say = None if no_first_key else lambda secret: print(greeting(secret, host, port), flush=True)
    limits = Limits(requests_per_minute, concurrent)
    access = access_for(service.workspace.engine(), host, no_keys=no_keys, first_key=say, limits=limits)
    options = {"samples": service.workspace.samples, "keep_text": keep_text, "access": access, "open_metrics": open_metrics}
    worker = None if no_worker else Beside(str(service.workspace.root), jobs)
    serve_api(service, host=host, port=port, worker=worker, workers=workers, **options)


@app.command()
def worker(jobs: JobsAtOnce = 0) -> None:
    """Run the fine-tuning jobs of the workspace's database, until it is told to stop: they go back to the queue with a checkpoint."""
    from luthier.app.beside import work
    from luthier.app.tuning_sinks import places

    places()
    work(str(_service(progress=False).workspace.root), jobs)


@app.command()
def ask(endpoint: str, texts: list[str], scores: bool = False, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Ask an endpoint (in this process, or of a server: only that journals it)."""
    from luthier.app.asked import sent
    from luthier.cli import show

    answers = reach(url, key).ask(endpoint, [sent(text) for text in texts], scores=scores)
    if as_json:
        show.as_json(answers)
    else:
        for text, answer in zip(texts, answers, strict=True):
            _show_answer(text, answer)


app.command()(predict)
app.command()(bench)


@app.command()
def watch(
    endpoint: str,
    window_s: Annotated[float, typer.Option(min=1, help="seconds of the journal to look at")] = 300,
    once: Annotated[bool, typer.Option("--once", help="print one window and end")] = False,
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Show live rate, latency, label mix, confidence and drift."""
    from luthier.cli import show
    from luthier.cli.watch_view import render

    there = reach(url, key)
    if as_json:
        show.as_json(there.watch(endpoint, window_s).as_json())
    elif once:
        show.out.print(render(there.watch(endpoint, window_s)))
    else:
        import time

        from rich.live import Live

        with Live(render(there.watch(endpoint, window_s)), console=show.out, refresh_per_second=2) as live:
            while True:
                time.sleep(2)
                live.update(render(there.watch(endpoint, window_s)))


@app.command()
def feedback(endpoint: str, identity: str, thumbs: str = "", right: str = "", comment: str = "", url: Url = "", key: Key = "") -> None:
    """Judge an answer: --thumbs up|down, --right LABEL."""
    reach(url, key).feedback(endpoint, identity, thumbs=thumbs, right=right, comment=comment)


@app.command()
def models(
    task: str = "",
    usable: Annotated[bool, typer.Option("--usable", help="only what works there now")] = False,
    as_json: AsJson = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """List the catalog, and what of it can be used on this machine (or that server) right now."""
    from luthier.cli import show

    rows = [row for row in reach(url, key).models() if (not usable or row["usable"]) and (not task or task in row.get("tasks", []))]
    show.as_json(rows) if as_json else show.models_table(rows)


@app.command()
def plugins(as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """List every task, method, metric, format, runtime, executor, sink and baseline."""
    from luthier.cli import show

    found = reach(url, key).plugins()
    show.as_json(found) if as_json else show.table([{"room": k, "names": v} for k, v in found.items()], ["room", "names"])


@app.command()
def artifacts(kind: str = "", as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """List what was made: datasets, models, evaluations, exports."""
    from luthier.cli import show

    rows = reach(url, key).artifacts(kind)
    show.as_json(rows) if as_json else show.table(rows, ["id", "name", "size_MB", "parents"])


@app.command()
def runs(as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """List runs and how they ended."""
    from luthier.cli import show

    rows = reach(url, key).runs()
    show.as_json(rows) if as_json else show.table(rows, ["id", "name", "state"])
