"""The checks can fail: each is given a plugin with one fault, and names it."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier import testing
from luthier.core import registry
from luthier.core.errors import NotPossible
from luthier.core.events import StageFailed, StageFinished
from luthier.core.ports import BaselineResult, Footprint, Row
from luthier.core.types import Column, Score
from luthier.testing import made
from luthier.testing.claim import without

COUNT = itertools.count(1)
TEXT = "text-classification"


def _broken(room: str, name: str, /, **faults: Any) -> Any:
    """The registered plugin with some attributes or methods replaced."""
    return type("Broken", (type(registry.get(room, name)),), faults)()


def _fault(room: str, name: str, sentence: str, /, **faults: Any) -> Any:
    return pytest.param(room, name, sentence, faults, id=f"{name}: {sentence}"[:70])


def _after(room: str, name: str, method: str, change: Callable[[Any], Any]) -> Any:
    """The method, with its result changed."""
    good = getattr(registry.get(room, name), method)
    return lambda self, *args, **kwargs: change(good(*args, **kwargs))


def _task(method: str, change: Callable[[Any], Any]) -> dict[str, Any]:
    return {method: _after("tasks", TEXT, method, change)}


# -- the shape, in any room ------------------------------------------------------------------------------------------------------------


class _Without:
    """Hides what a class has."""

    def __get__(self, *_: Any) -> Any:
        raise AttributeError


SHAPE = [
    _fault("metrics", "accuracy", "has no summary", summary=_Without()),
    _fault("metrics", "accuracy", "summary must be one sentence", summary=" "),
    _fault("metrics", "accuracy", "more than one sentence", summary="Counts. Then divides."),
    _fault("metrics", "accuracy", "characters, 120 at most", summary="x" * 121),
    _fault("metrics", "accuracy", "lower-case words", name="Accuracy_1"),
    _fault("metrics", "accuracy", "has no method figures", figures=_Without()),
    _fault("metrics", "accuracy", "cannot be called like Metric.compute", compute=lambda self: []),
    _fault("metrics", "accuracy", "cannot be called like Metric.compute", compute=lambda self, answers: []),
    _fault("metrics", "accuracy", "cannot be called like Metric.compute", compute=lambda self, judged, more: []),
    _fault("methods", "full", "stands in another place", cut=lambda self, depth, plan: 0),
    _fault("formats", "csv", "cannot be called like Format.rows", rows=lambda self, path: iter([])),
    _fault("formats", "csv", "suffixes is a list, not a tuple", suffixes=[".csv"]),
    _fault("tasks", TEXT, "which is no Column", columns=("text",)),
]


# -- rooms -----------------------------------------------------------------------------------------------------------------------------


def _example_by_place(self: Any, row: Any, place: Any) -> Any:
    one = registry.get("tasks", TEXT).example(row, place)
    return replace(one, id=f"{place}")


def _encode_with_torch(self: Any, examples: Any, processor: Any, schema: Any) -> Any:
    from torch.nn import functional  # noqa: F401

    return []


def _collate_at_the_end(self: Any, items: Any) -> Any:
    batch = registry.get("tasks", TEXT).collate(items)
    return {name: value[:, ::-1] if value.ndim == 2 else value for name, value in batch.items()}


def _encode_targets_in(self: Any, examples: Any, processor: Any, schema: Any) -> Any:
    """The target leaks into the inputs."""
    items = registry.get("tasks", TEXT).encode(examples, processor, schema)
    return [{**item, "input_ids": np.append(item["input_ids"], 7)} if "labels" in item else item for item in items]


TASKS = [
    _fault("tasks", TEXT, "id changes with the place", example=_example_by_place),
    _fault("tasks", TEXT, "not 'made.csv:2'", **_task("example", lambda one: replace(one, source=""))),
    _fault("tasks", TEXT, "with_text keeps the id", with_text=lambda self, example, text: replace(example, inputs={"text": text})),
    _fault("tasks", TEXT, "with_text changes the target", **_task("with_text", lambda one: replace(one, target="other"))),
    _fault("tasks", TEXT, "the schema cannot be written as JSON", **_task("schema", lambda s: {**s, "set": {1}})),
    _fault("tasks", TEXT, "encode or collate imports torch", encode=_encode_with_torch),
    _fault("tasks", TEXT, "the second time", **_task("encode", lambda items: [{**i, "n": np.array(next(COUNT))} for i in items])),
    _fault("tasks", TEXT, "leaves out known targets", **_task("encode", lambda items: [{"ids": i["input_ids"]} for i in items])),
    _fault("tasks", TEXT, "training and serving would differ", encode=_encode_targets_in),
    _fault("tasks", TEXT, "may only pad at the end", collate=_collate_at_the_end),
    _fault(
        "tasks", TEXT, "hide exactly the padding",
        **_task("collate", lambda batch: {**batch, "attention_mask": np.ones_like(batch["attention_mask"])}),
    ),
    _fault("tasks", TEXT, "one finite number", **_task("loss", lambda loss: loss * float("nan"))),
    _fault("tasks", TEXT, "it has no gradient", **_task("loss", lambda loss: loss.detach())),
    _fault("tasks", TEXT, "promises ('answers',)", **_task("graphs", lambda g: (g[0]._replace(outputs=("answers",)),))),
    _fault("tasks", TEXT, "in the order of the ids", **_task("decode", lambda answers: answers[::-1])),
    _fault("tasks", TEXT, "not 0 to 1", **_task("decode", lambda found: [replace(one, confidence=2.0) for one in found])),
    _fault("tasks", TEXT, "comes back as another", **_task("decode", lambda found: [replace(one, output="x") for one in found])),
    _fault("tasks", TEXT, "must carry the id", answer=lambda self, prediction, *, scores=False: {"label": "a"}),
    _fault("tasks", TEXT, "must refuse an empty body", request=lambda self, body: []),
    _fault("tasks", TEXT, "raised KeyError over good input", stratum=lambda self, example: {}["nothing"]),
]  # fmt: skip


def _compute(*scores: Score) -> Any:
    return lambda self, judged: list(scores)


METRICS = [
    _fault("metrics", "accuracy", "must be 'accuracy', like the file", compute=_compute(Score("precision", 1.0))),
    _fault("metrics", "accuracy", "must be 'accuracy', like the file", compute=_compute(Score("other", 1.0), Score("accuracy", 1.0))),
    _fault("metrics", "accuracy", "two scores have one name", compute=_compute(Score("accuracy", 1.0), Score("accuracy", 0.5))),
    _fault("metrics", "accuracy", "lower-case words joined by _", compute=_compute(Score("Accuracy", 1.0))),
    _fault("metrics", "accuracy", "not a finite number", compute=_compute(Score("accuracy", float("nan")))),
    _fault("metrics", "accuracy", "not a finite number", compute=_compute(Score("accuracy", 1.0, parts={"a": float("inf")}))),
    _fault("metrics", "accuracy", "cannot be written as JSON", compute=_compute(Score("accuracy", np.float32(1)))),
    _fault("metrics", "accuracy", "must give a list of scores", compute=_compute()),
    _fault(
        "metrics", "accuracy", "rows come in another order",
        compute=lambda self, judged: [Score("accuracy", float(judged.predictions[0].confidence))],
    ),
    _fault("metrics", "accuracy", "figures cannot be written as JSON", figures=lambda self, judged: {"curve": np.zeros(3)}),
    _fault("metrics", "accuracy", "compute gives", resample=lambda self, judged, counts: {"accuracy": np.zeros(2) - 1}),
    _fault("metrics", "accuracy", "raised TypeError over good input", compute=lambda self, judged: len(7)),  # type: ignore[arg-type]
]  # fmt: skip


def _frozen(self: Any, model: Any, plan: Any) -> Any:
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def _merge_away(self: Any, model: Any) -> Any:
    import torch

    with torch.no_grad():
        model.head.weight.zero_()
    return model


def _merge_more(self: Any, model: Any) -> Any:
    import torch

    model.more = torch.nn.Linear(2, 2)
    return model


def _cost(flop: float) -> Any:
    return lambda self, card, plan, tokens_per_batch: Footprint(1, flop, 0.0, 1.0)


METHODS = [
    _fault("methods", "full", "no field of train", defaults=lambda self, effort: {"learn_rate": 1.0}),
    _fault("methods", "full", "no field of train", defaults=lambda self, effort: {"effort": "best"}),
    _fault("methods", "full", "is not valid", defaults=lambda self, effort: {"epochs": -1}),
    _fault("methods", "full", "hands out its own dict", defaults=lambda self, effort, own={"epochs": 1}: own),
    _fault("methods", "full", "cut is -1", cut=lambda self, plan, depth: -1),
    _fault("methods", "full", "cut is 4", cut=lambda self, plan, depth: 4),
    _fault("methods", "full", "cut says 2 layers are frozen", cut=lambda self, plan, depth: min(2, depth)),
    _fault("methods", "full", "finite and 0 or more", footprint=_cost(float("inf"))),
    _fault("methods", "full", "twice the layers take 1 FLOP", footprint=_cost(1.0)),
    _fault("methods", "full", "nothing that could learn", apply=_frozen),
    _fault("methods", "full", "merge changes the answers", merge=_merge_away),
    _fault("methods", "full", "must leave the weights", merge=_merge_more),
    _fault("methods", "lora", "must leave the weights", merge=lambda self, model: model),
]  # fmt: skip


def _result(logits: Any) -> BaselineResult:
    return BaselineResult({"logits": logits}, 0.0, 0.0, 1.0)


def _answers(logits: Callable[[Any], Any]) -> Any:
    return lambda self, train, test, context: _result(logits(test))


def _peeks(self: Any, train: Any, test: Any, context: Any) -> BaselineResult:
    return _result(np.array([[1.0 if one.target else 0.0] * 3 for one in test]))


def _scores_targets(self: Any, train: Any, test: Any, context: Any) -> BaselineResult:
    return _result(np.eye(3)[[context.schema["labels"].index(one.target) for one in test]])


BASELINES = [
    _fault("baselines", "majority", "does it read them?", run=_scores_targets),
    _fault("baselines", "majority", "it looks at them", run=_peeks),
    _fault("baselines", "majority", "not [rows, classes]", run=_answers(lambda test: np.zeros(len(test)))),
    _fault("baselines", "majority", "NaN", run=_answers(lambda test: np.full((len(test), 3), np.nan))),
    _fault("baselines", "majority", "differently the second time", run=_answers(lambda test: np.full((len(test), 3), random.random()))),
    _fault("baselines", "majority", "must hold logits", run=lambda self, train, test, context: BaselineResult({}, 0.0, 0.0, 0.0)),
    _fault("baselines", "majority", "train_s is -1", **{"run": _after("baselines", "majority", "run", lambda r: r._replace(train_s=-1.0))}),
]  # fmt: skip


def _rows(change: Callable[[Row], Any]) -> Any:
    good = registry.get("formats", "csv").rows

    def rows(self: Any, path: Path, *, encoding: str = "", delimiter: str = "") -> Any:
        for row in good(path, encoding=encoding, delimiter=delimiter):
            yield change(row)

    return rows


def _list(self: Any, path: Path, *, encoding: str = "", delimiter: str = "") -> Any:
    return list(registry.get("formats", "csv").rows(path))


def _trusting(self: Any, path: Path, *, encoding: str = "", delimiter: str = "") -> Any:
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), 1):
        yield Row(number, {"text": line}, 0)


def _whole(self: Any, path: Path, *, encoding: str = "", delimiter: str = "") -> Any:
    if not path.read_text(encoding="latin-1").endswith("\n"):
        raise EOFError("the last line has no end")
    yield from registry.get("formats", "csv").rows(path)


FORMATS = [
    _fault("formats", "csv", "sniff gives 3", sniff=lambda self, path, head: 3),
    _fault("formats", "csv", "recognises no good file", sniff=lambda self, path, head: 0.0),
    _fault("formats", "csv", "not a stream", rows=_list),
    _fault("formats", "csv", "line numbers must rise from 1", rows=_rows(lambda row: row._replace(line=0))),
    _fault("formats", "csv", "at_bytes must rise", rows=_rows(lambda row: row._replace(at_bytes=10**9))),
    _fault("formats", "csv", "by column name", rows=_rows(lambda row: row._replace(values={0: "a"}))),
    _fault("formats", "csv", "no Row and no BadRow", rows=_rows(lambda row: row.values)),
    _fault("formats", "csv", "gives other rows", rows=_rows(lambda row: row._replace(values={"n": str(next(COUNT))}))),
    _fault("formats", "csv", "empty.csv must be refused", rows=_trusting),
    _fault("formats", "csv", "must be refused with InputError, not with EOFError", rows=_whole),
]


def _saying(*events: Any) -> Any:
    """Runs the job, and says this of it."""

    def submit(self: Any, job: Any, emit: Any) -> Any:
        for event in events:
            emit(event)
        return registry.get("executors", "dummy").submit(job, lambda event: None)

    return submit


EXECUTORS = [
    _fault("executors", "dummy", "not a text", refuses=lambda self, job: None),
    _fault("executors", "dummy", "0 events say that the stage ended", submit=_saying()),
    _fault(
        "executors", "dummy", "the exit code is 0, but the event is stage.failed",
        submit=_saying(StageFailed(stage="prepare", error={})),
    ),
    _fault(
        "executors", "dummy", "the end is of stage 'train'",
        submit=_saying(StageFinished(stage="train", seconds=0)),
    ),
    _fault("executors", "dummy", "has no method wait", submit=lambda self, job, emit: object()),
]  # fmt: skip


def _picky(self: Any, target: str) -> Any:
    def take(event: Any) -> None:
        if event.name == "drift.measured":
            raise KeyError(event.name)

    return take


def _changing(self: Any, target: str) -> Any:
    return lambda event: setattr(event, "at", 0.0)


SINKS = [
    _fault("sinks", "jsonl", "raised KeyError for {'event': 'drift.measured'", open=_picky),
    _fault("sinks", "jsonl", "changes the event", open=_changing),
    _fault("sinks", "jsonl", "not a function that takes events", open=lambda self, target: "events"),
]


@pytest.mark.parametrize(
    ("room", "name", "sentence", "faults"), [*SHAPE, *TASKS, *METRICS, *METHODS, *BASELINES, *FORMATS, *EXECUTORS, *SINKS]
)
def test_a_fault_is_named(room: str, name: str, sentence: str, faults: dict[str, Any]) -> None:
    with pytest.raises(AssertionError) as found:
        testing.CHECKS[room](_broken(room, name, **faults))
    assert sentence in str(found.value)


# -- runtimes, whose graphs take seconds to make ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _graphs_once() -> None:
    from luthier.testing import runtimes

    runtimes._onnx()


class _Session:
    """A session with its answers changed."""

    def __init__(self, good: Any, change: Callable[[Any], Any]) -> None:
        self.good, self.change = good, change

    def run(self, batch: Any) -> Any:
        return {name: self.change(value) for name, value in self.good.run(batch).items()}


def _opened(change: Callable[[Any], Any]) -> dict[str, Any]:
    return {"open": _after("runtimes", "onnx-int8", "open", lambda session: _Session(session, change))}


@pytest.mark.usefixtures("_graphs_once")
@pytest.mark.parametrize(
    ("sentence", "faults"),
    [
        pytest.param("missing gives None", {"missing": lambda self: None}, id="missing"),
        pytest.param("off torch's answer", _opened(lambda value: value + 1.0), id="wrong"),
        pytest.param("torch gives", _opened(lambda value: value[:, :1]), id="shape"),
        pytest.param("several threads", _opened(lambda value: value + 1e-5 * next(COUNT)), id="threads"),
        pytest.param("convert must write model.int8.onnx", {"convert": lambda self, graphs, source, folder, samples: None}, id="nothing"),
        pytest.param("an empty folder must be refused", {"open": lambda self, folder, graph, *, threads=1: None}, id="empty"),
    ],
)
def test_a_fault_of_a_runtime_is_named(sentence: str, faults: dict[str, Any]) -> None:
    with pytest.raises(AssertionError) as found:
        testing.check_runtime(_broken("runtimes", "onnx-int8", **faults))
    assert sentence in str(found.value)


def test_a_runtime_that_is_missing_is_not_run() -> None:
    missing = {"missing": lambda self: "pip install it", "convert": lambda self, graphs, source, folder, samples: 1 / 0}
    testing.check_runtime(_broken("runtimes", "onnx-int8", **missing))


# -- what a check takes and leaves out -------------------------------------------------------------------------------------------------


def test_a_plugin_is_called_what_it_is_registered_as(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "get", lambda room, name: type("Kappa", (), {"name": "cohen"})())
    with pytest.raises(AssertionError, match="calls itself 'cohen', but it is registered as 'kappa'"):
        testing.check("metrics", "kappa")


def test_a_metric_may_refuse_several_labels() -> None:
    good = registry.get("metrics", "accuracy").compute

    def compute(self: Any, judged: Any) -> Any:
        if judged.schema["multi_label"]:
            raise NotPossible("kappa: for one label only")
        return good(judged)

    testing.check_metric(_broken("metrics", "accuracy", compute=compute))


def test_a_job_that_is_refused_is_not_submitted() -> None:
    testing.check_executor(_broken("executors", "dummy", refuses=lambda self, job: "only train", submit=lambda self, job, emit: 1 / 0))


def test_a_job_that_never_ends_is_cancelled() -> None:
    import threading

    cancelled = threading.Event()

    class Endless:
        def wait(self) -> int:
            return int(not cancelled.wait(30))

        def cancel(self) -> None:
            cancelled.set()

    with pytest.raises(AssertionError, match=r"has not ended after 0\.05 s"):
        testing.check_executor(_broken("executors", "dummy", submit=lambda self, job, emit: Endless()), timeout_s=0.05)
    assert cancelled.is_set()


def test_a_task_with_other_columns_asks_for_rows() -> None:
    task = _broken("tasks", TEXT, columns=(*registry.get("tasks", TEXT).columns, Column("sound", "what the model hears")))
    with pytest.raises(AssertionError, match=r"no column \['sound'\]: give some with rows="):
        testing.check_task(task)


def test_a_format_takes_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("text,label\none,a\ntwo,b\nthree,a,too many\n")
    testing.check_format(registry.get("formats", "csv"), path)


def test_hidden_libraries_come_back() -> None:
    import json

    with pytest.raises(AssertionError, match="encode imports json"), without("json", what="encode"):
        import json.decoder
    assert sys.modules["json"] is json
    with pytest.raises(ModuleNotFoundError, match="no_such_library"), without("json", what="encode"):
        import no_such_library  # noqa: F401


def test_made_events_are_all_there_are() -> None:
    from luthier.core.events import EVENTS

    assert {event.name for event in made.events()} == EVENTS.keys()


# -- plugins of other packages ---------------------------------------------------------------------------------------------------------

KAPPA = '''
"""Cohen's kappa: agreement beyond chance."""
{imports}
from luthier.core.types import Score


class Kappa:
    name = "{name}"
    summary = "agreement beyond chance"

    def compute(self, judged):
        pairs = [(e.target, p.output) for e, p in zip(judged.examples, judged.predictions)]
        pairs = [tuple("|".join(v) if isinstance(v, list) else v for v in pair) for pair in pairs]
        agreed = sum(a == b for a, b in pairs) / len(pairs)
        labels = {{label for pair in pairs for label in pair}}
        chance = sum(sum(a == l for a, _ in pairs) * sum(b == l for _, b in pairs) for l in labels) / len(pairs) ** 2
        return [Score("{name}", (agreed - chance) / (1 - chance) if chance < 1 else 1.0)]

    def figures(self, judged):
        return {{}}


plugin = Kappa()
'''


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as pip leaves it: two metrics, one of which imports scipy as soon as it is looked at."""
    folder = tmp_path_factory.mktemp("site-packages")
    (folder / "kappa_metric.py").write_text(KAPPA.format(name="kappa", imports=""))
    (folder / "heavy_metric.py").write_text(KAPPA.format(name="heavy", imports="import scipy"))
    info = folder / "kappa_metric-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kappa-metric\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[luthier.metrics]\nkappa = kappa_metric:plugin\nheavy = heavy_metric:plugin\n")
    return folder


def _python(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_plugin_of_another_package_is_found_and_passes(package: Path) -> None:
    code = (
        "from luthier import testing\nfrom luthier.core import registry\nimport sys\n"
        "assert {'kappa', 'heavy', 'accuracy'} <= set(registry.names('metrics'))\n"
        "assert 'kappa_metric' not in sys.modules\n"
        "testing.check('metrics', 'kappa')\n"
        "print(type(registry.get('metrics', 'kappa')).__module__)"
    )
    done = _python(package, code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["kappa_metric"]


def test_a_plugin_that_imports_a_heavy_library_is_named(package: Path) -> None:
    done = _python(package, "from luthier import testing\ntesting.check('metrics', 'heavy')")
    assert done.returncode == 1
    assert "metrics/heavy: importing it imports scipy" in done.stderr
