"""The answering engine: right answers in order, whatever the batches; overload, bad examples, swaps, journal."""

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from luthier.core.errors import Damaged, NotPossible, Overloaded
from luthier.core.types import Example
from luthier.stages.serve.engine import BATCH, Call, Closed, Endpoint, Piece, alike
from luthier.stages.serve.host import Host
from luthier.stages.serve.lanes import Lane
from luthier.store import files
from luthier.store.database import connect
from luthier.store.journal import Journal


@pytest.fixture(scope="module")
def endpoint(export_folder):
    opened = Endpoint.open(export_folder, threads=2)
    yield opened
    opened.close()


def _ids(endpoint, examples):
    """The ids that the dataset would give: of what is left after masking (the made messages hold invented personal data)."""
    return [endpoint.masking.example(endpoint.task, one)[0].id for one in examples]


def test_answers_are_those_of_one_batch_and_in_order(endpoint, exported):
    examples = exported.messages(60)
    together = endpoint.predict_now(examples)
    assert [one.prediction.id for one in together] == _ids(endpoint, examples)
    assert _ids(endpoint, examples) != [one.id for one in examples]
    alone = [endpoint.predict_now([one])[0].prediction.output for one in examples]
    same = np.mean([one.prediction.output == other for one, other in zip(together, alone, strict=True)])
    assert same >= 0.9  # dynamic int8 takes its range from the whole batch
    right = np.mean([one.prediction.output == example.target for one, example in zip(together, examples, strict=True)])
    assert right > 0.3
    assert all(one.tokens > 2 and 1 <= one.batch <= BATCH and one.latency_ms > 0 for one in together)


def test_many_callers_at_once_each_get_their_own(endpoint, exported):
    examples = exported.messages(120)

    async def ask():
        return await asyncio.gather(*(endpoint.predict([one]) for one in examples))

    found = asyncio.run(ask())
    assert [one[0].prediction.id for one in found] == _ids(endpoint, examples)
    assert max(one[0].batch for one in found) > 1


def test_one_bad_example_fails_alone(endpoint, exported):
    good, bad = exported.messages(1), Example("bad", {"no_text": 1})
    results: list = []
    ready = threading.Semaphore(0)

    def done(result):
        results.append(result)
        ready.release()

    endpoint.submit([bad], done)
    endpoint.submit(good, done)
    for _ in range(2):
        assert ready.acquire(timeout=10)
    assert sorted(isinstance(one, BaseException) for one in results) == [False, True]


def test_a_watcher_that_fails_harms_neither_the_answers_nor_the_other_watchers(export_folder, exported):
    endpoint = Endpoint.open(export_folder, threads=1)
    seen: list = []

    def broken(answers, outputs):
        raise ZeroDivisionError

    endpoint.watchers += [broken, lambda answers, outputs: seen.extend(answers)]
    try:
        for _ in range(3):  # the lanes live on
            examples = exported.messages(5)
            assert [one.prediction.id for one in endpoint.predict_now(examples)] == _ids(endpoint, examples)
        assert len(asyncio.run(endpoint.predict(exported.messages(2)))) == 2
    finally:
        endpoint.close()
    assert len(seen) == 17


def test_an_answered_call_cannot_fail_any_more_and_a_failed_one_fails_once():
    for first, then in (("fill", "fail"), ("fail", "fill"), ("fail", "fail")):
        said: list = []
        call = Call(said.append, [None], 0.0, 1)
        act = {"fill": lambda call=call: call.fill(0, "answer"), "fail": lambda call=call: call.fail(ValueError("no"))}
        act[first]()
        act[then]()
        assert len(said) == 1
        assert isinstance(said[0], ValueError) is (first == "fail")


def test_a_caller_that_is_gone_does_not_harm_the_others_of_its_batch(endpoint, exported):
    def gone(result):
        raise RuntimeError("Event loop is closed")

    first, second = exported.messages(2)
    for _ in range(5):
        endpoint.submit([first], gone)
        assert [endpoint.predict_now([second])[0].prediction.id] == _ids(endpoint, [second])


def test_a_full_lane_refuses_at_once_and_goes_on():
    gate = threading.Event()
    lane = Lane("slow", lambda work: gate.wait(10), limit=3)
    lane.offer([0])
    time.sleep(0.05)
    lane.offer([1, 2, 3])
    start = time.perf_counter()
    with pytest.raises(Overloaded, match="3 examples wait already"):
        lane.offer([4])
    assert time.perf_counter() - start < 0.1
    gate.set()
    lane.close()
    with pytest.raises(Closed):
        lane.offer([5])


def test_batches_hold_texts_of_like_length_and_the_oldest():
    call = Call(lambda result: None, [], 0.0, 0)
    queue = deque(Piece(call, n, Example(str(n), {}), length=length) for n, length in enumerate([10, 100, 12, 9, 101, 11]))
    assert sorted(piece.length for piece in alike(queue)) == [9, 10, 11, 12]
    assert [piece.length for piece in queue] == [100, 101]
    many = deque(Piece(call, n, Example(str(n), {}), length=10) for n in range(50))
    assert len(alike(many)) == BATCH
    assert len(many) == 50 - BATCH


def test_a_folder_that_is_not_whole_is_named(export_folder, tmp_path):
    with pytest.raises(Damaged, match=r"export\.json"):
        Endpoint.open(tmp_path)
    shutil.copytree(export_folder, tmp_path / "copy")
    facts = files.read_json(tmp_path / "copy" / "export.json")
    files.write_json(tmp_path / "copy" / "export.json", facts | {"runtime": "dummy"})
    with pytest.raises(Damaged, match=r"dummy\.json"):
        Endpoint.open(tmp_path / "copy")


def test_what_is_not_installed_is_said(export_folder, tmp_path, monkeypatch):
    shutil.copytree(export_folder, tmp_path / "copy")
    facts = files.read_json(tmp_path / "copy" / "export.json")
    files.write_json(tmp_path / "copy" / "export.json", facts | {"runtime": "openvino-int8"})
    from luthier.runtimes import openvino_int8

    monkeypatch.setattr(openvino_int8, "find_spec", lambda name: None)
    with pytest.raises(NotPossible, match="openvino-int8"):
        Endpoint.open(tmp_path / "copy")


@dataclass
class Info:
    name: str
    export_id: str
    folder: Path
    task: str = "text-classification"
    model_id: str = "model-1"


class Deployments:
    def __init__(self, *infos: Info) -> None:
        self.infos = list(infos)

    def list(self) -> list[Info]:
        return self.infos


def test_a_new_deployment_takes_over_and_no_request_is_lost(export_folder, exported, tmp_path):
    deployments = Deployments(Info("support", "export-0", export_folder))
    journal = Journal(connect(f"sqlite:///{tmp_path / 'journal.db'}"))
    host = Host(deployments, journal, workers=1, samples=tmp_path / "samples")
    examples = exported.messages(20)

    async def client(stop: threading.Event) -> int:
        count = 0
        while not stop.is_set():
            assert len(await host.predict("support", [examples[count % 20]])) == 1
            count += 1
        return count

    async def ask(stop: threading.Event) -> list[int]:
        return await asyncio.gather(*(client(stop) for _ in range(8)))

    stop, counts = threading.Event(), []
    thread = threading.Thread(target=lambda: counts.extend(asyncio.run(ask(stop))))
    thread.start()
    for number in range(1, 4):
        time.sleep(0.2)
        deployments.infos = [Info("support", f"export-{number}", export_folder)]
        host.refresh()
    time.sleep(0.2)
    stop.set()
    thread.join(30)
    host.close()
    assert len(counts) == 8
    entries = list(journal.all(about="support", names=("prediction.answered",)))
    assert len(entries) == sum(counts)
    assert {entry.body["export"] for entry in entries} == {f"export-{number}" for number in range(4)}
    assert all(entry.body["text"] == "" for entry in entries)
    with np.load(tmp_path / "samples" / "support.npz", allow_pickle=False) as found:
        assert found["embedding"].shape[1] == 384
        assert str(found["export"]) == "export-3", "a new deployment starts a new sample"


def test_a_deployment_that_cannot_be_opened_leaves_the_old_one(export_folder, exported, tmp_path):
    deployments = Deployments(Info("support", "export-0", export_folder))
    host = Host(deployments, Journal(connect(f"sqlite:///{tmp_path / 'journal.db'}")), workers=1)
    deployments.infos = [Info("support", "export-1", tmp_path / "nothing")]
    host.refresh()
    assert not host.ready
    assert "export.json" in host.problems["support"]
    assert len(asyncio.run(host.predict("support", exported.messages(1)))) == 1
    host.close()


BLOCKED = """
import importlib.abc, json, sys
NO = {"torch", "transformers", "pyarrow", "sklearn", "scipy", "onnx", "datasets", "safetensors", "spacy", "matplotlib"}
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in NO:
            raise ImportError(name + " is not installed here")
sys.meta_path.insert(0, Blocker())
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from luthier.api import create_app
from luthier.store.database import connect
from luthier.store.journal import Journal
info = SimpleNamespace(name="support", task="text-classification", export_id="e", model_id="m", folder=Path(sys.argv[1]))
service = SimpleNamespace(endpoints=SimpleNamespace(list=lambda: [info]), journal=Journal(connect("sqlite:///" + sys.argv[2])))
from starlette.testclient import TestClient
with TestClient(create_app(service)) as client:
    answer = client.post("/api/v1/endpoints/support/predict", json={"text": "where is my order"})
print(json.dumps([answer.status_code, answer.json()]))
"""


def test_serving_needs_no_training_library(export_folder, tmp_path):
    command = [sys.executable, "-c", BLOCKED, str(export_folder), str(tmp_path / "journal.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    status, answer = json.loads(done.stdout.splitlines()[-1])
    assert status == 200
    assert answer["label"]
