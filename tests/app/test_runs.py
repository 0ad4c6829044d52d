"""Runs: what is done is reused, what changed is done anew, errors keep their class, and two at once never harm each other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from luthier.app.runs import fingerprints
from luthier.app.service import Service
from luthier.core import registry
from luthier.core.errors import Conflict, GateRefused, InputError, NotPossible
from luthier.core.events import Event, JobMoved, JobReused, RunStarted
from luthier.core.plan import Plan
from luthier.core.spec import make_spec
from luthier.store import files

OTHER = """
import json, sys
from luthier.app.service import Service
from luthier.core.spec import make_spec
def say(event):
    print(json.dumps(event.as_json()), flush=True)
service = Service(sys.argv[1], sinks=[say])
print(service.prepare(service.plan(make_spec({"name": "real", "data": {"train": sys.argv[2]}}))).id, flush=True)
"""


def _reused(events: list[Event]) -> list[str]:
    return [event.stage for event in events if isinstance(event, JobReused)]


@pytest.fixture
def real(service: Service, messages: Path) -> Plan:
    """A plan by the executor that really starts processes."""
    return service.plan(make_spec({"name": "real", "data": {"train": str(messages)}}))


@pytest.fixture
def other(service: Service, messages: Path, real: Plan) -> Iterator[subprocess.Popen[str]]:
    """Another process that prepares the messages in this workspace, and has begun to."""
    command = [sys.executable, "-c", OTHER, str(service.workspace.home), str(messages)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if '"job.moved"' in line:
            break
    yield process
    process.kill()
    process.communicate()


def test_a_whole_run_is_done_once(service: Service, planned: Callable[..., Plan], events: list[Event]) -> None:
    first = service.run(planned())
    assert _reused(events) == []
    assert [event.stage for event in events if isinstance(event, JobMoved) and event.new == "succeeded"] == [
        "prepare",
        "train",
        "evaluate",
        "export",
    ]
    assert first.export.parents == (first.dataset.id, first.model.id, first.evaluation.id)
    assert [job["state"] for job in service.leases.all(first.run)] == ["succeeded"] * 4
    events.clear()
    again = service.run(planned())
    assert _reused(events) == ["prepare", "train", "evaluate", "export"]
    assert (again.run, again.export) == (first.run, first.export)
    assert [event.resumed for event in events if isinstance(event, RunStarted)] == [True]
    assert [(run["id"], run["state"]) for run in service.runs()] == [(first.run, "succeeded")]
    assert list(service.workspace.work.iterdir()) == [], "work folders go when their work is done"


def test_a_changed_setting_does_its_stage_anew_and_no_other(service: Service, planned: Callable[..., Plan], events: list[Event]) -> None:
    first = service.run(planned())
    events.clear()
    changed = service.run(planned(train={"method": "dummy", "seed": 3}))
    assert _reused(events) == ["prepare"]
    assert changed.dataset == first.dataset
    assert changed.model.id != first.model.id
    assert changed.run != first.run
    assert service.prepare(planned(prepare={"seed": 99})).id != first.dataset.id


def test_a_changed_input_file_is_noticed(service: Service, planned: Callable[..., Plan], messages: Path, events: list[Event]) -> None:
    first = service.prepare(planned())
    os.utime(messages, (1, 1))
    assert service.prepare(planned()).id == first.id
    assert _reused(events) == ["prepare"]
    messages.write_text(messages.read_text() + "one more message,refund\n")
    assert service.prepare(planned()).id != first.id


def test_a_machine_with_its_own_copy_of_the_base_goes_on_with_what_was_begun(
    service: Service, planned: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    base = tmp_path / "base"
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        files.write_text(base / name, name)
    monkeypatch.setattr(Service, "_base", lambda self, plan: {"base": str(base)})
    service.prepare(planned())
    assert _reused(events) == []
    shutil.copytree(base, tmp_path / "copy")
    for path in (tmp_path / "copy").iterdir():
        os.utime(path, (1, 1))
    (tmp_path / "copy" / "README.md").write_text("read me")
    base = tmp_path / "copy"
    service.prepare(planned())
    assert _reused(events) == ["prepare"]
    (base / "model.safetensors").write_text("others, 17 bytes.")
    service.prepare(planned())
    assert _reused(events) == ["prepare"]


def test_files_are_known_by_content_and_folders_by_listing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.csv").write_text("a")
    (tmp_path / "b.csv").write_text("a")
    before = fingerprints([str(folder), str(folder / "a.csv"), str(tmp_path / "b.csv"), "made:support-messages"])
    assert before[1] == before[2] == files.sha256(folder / "a.csv")
    (folder / "new.csv").write_text("b")
    assert fingerprints([str(folder)]) != before[:1]


def test_a_missing_input_file_is_named(service: Service, planned: Callable[..., Plan], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothere\.csv: there is no such file") as caught:
        service.prepare(planned(data={"train": str(tmp_path / "nothere.csv")}))
    assert "made:support-messages" in caught.value.hint
    assert service.leases.all() == []


def test_a_failed_stage_raises_its_own_error_and_a_repaired_file_goes_on(service: Service, messages: Path, tmp_path: Path) -> None:
    """The stage runs in a process of its own, and its ``GateRefused`` is a ``GateRefused`` here."""
    test = tmp_path / "test.csv"
    test.write_text(messages.read_text())
    plan = service.plan(make_spec({"name": "leaks", "data": {"train": str(messages), "test": str(test)}}))
    with pytest.raises(GateRefused, match="test") as caught:
        service.run(plan)
    (job,) = service.leases.all()
    assert (job["stage"], job["state"], job["lease_token"]) == ("prepare", "failed", "")
    assert job["error"] == {"code": "gate_refused", "message": str(caught.value), "hint": caught.value.hint}
    assert [run["state"] for run in service.runs()] == ["failed"]
    assert service.workspace.artifacts.all() == []
    test.write_text("text,label\nsomething else entirely here,refund\nwholly unlike all others,parcel\n")
    assert service.prepare(plan).kind == "dataset"


def test_what_an_executor_refuses_is_not_started(service: Service, planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    dummy = registry.get("executors", "dummy")
    monkeypatch.setattr(type(dummy), "refuses", lambda self, job: "it is closed on Sundays")
    monkeypatch.setattr(type(dummy), "submit", lambda self, job, emit: pytest.fail("it was started"))
    with pytest.raises(NotPossible, match="executor 'dummy' cannot do prepare: it is closed on Sundays") as caught:
        service.prepare(planned())
    assert caught.value.hint == "choose another executor"
    assert service.leases.all()[0]["state"] == "failed"


def test_a_run_that_was_stopped_by_ctrl_c_is_cancelled_and_goes_on(
    service: Service, planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    dummy = type(registry.get("executors", "dummy"))
    with monkeypatch.context() as patch:
        patch.setattr(dummy, "submit", lambda self, job, emit: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            service.run(planned())
    assert service.runs()[0]["state"] == "cancelled"
    assert service.leases.all()[0]["state"] == "queued"
    assert service.run(planned()).export.kind == "export"


def test_two_runs_in_one_folder_are_a_conflict_and_nothing_is_lost(
    service: Service, other: subprocess.Popen[str], real: Plan, events: list[Event]
) -> None:
    with pytest.raises(Conflict, match=f"prepare of run 'real-.*{other.pid}"):
        service.prepare(real)
    out, said = other.communicate(timeout=60)
    assert other.returncode == 0, said
    made = out.splitlines()[-1]
    service.workspace.artifacts.check(made)
    assert service.prepare(real).id == made
    assert _reused(events) == ["prepare"]


def test_a_killed_run_goes_on_at_once(service: Service, other: subprocess.Popen[str], real: Plan, events: list[Event]) -> None:
    end = time.monotonic() + 30
    while not list(service.workspace.work.glob("prepare-*/spool/*")) and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert service.workspace.artifacts.all() == []
    dataset = service.prepare(real)
    service.workspace.artifacts.check(dataset.id)
    assert _reused(events) == []
    assert [artifact.id for artifact in service.workspace.artifacts.all()] == [dataset.id]


def test_reused_jobs_stay_succeeded(service: Service, planned: Callable[..., Plan]) -> None:
    service.run(planned())
    run = service.run(planned()).run
    assert [job["state"] for job in service.leases.all(run)] == ["succeeded"] * 4


def test_the_same_work_under_another_name_is_found_by_that_name(service: Service, planned: Callable[..., Plan]) -> None:
    first = service.prepare(planned())
    again = service.prepare(planned(name="another"))
    assert again.id == first.id == service.artifact("another", "dataset").id
