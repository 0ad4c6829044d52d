"""Fine-tuning jobs from their creation to their end, by a real worker; the stages are the dummy executor's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chats import lines
from luthier.app.fine_tuning import FineTuning
from luthier.app.service import Service
from luthier.app.tuning_work import MOST_DEATHS
from luthier.app.worker import Worker
from luthier.core.errors import KILLED, OUT_OF_MEMORY, JobFailed, NoSpace, SpecError, UnknownName
from luthier.core.events import TuningMoved
from luthier.core.tuning import TuningRequest

CHATS = lines(40, "message {n} about {reply}", ("parcel", "refund"))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(str(tmp_path))


@pytest.fixture
def file(service: Service) -> str:
    info = service.files.create("chats.jsonl", "fine-tune", [CHATS])
    service.files.check(info.id)
    return str(info.id)


def create(service: Service, file: str, **more: Any) -> str:
    body = {"model": "all-minilm-l6-v2", "training_file": file, "executor": "dummy"} | more
    return str(service.fine_tuning.create(body)["id"])


def work(service: Service) -> None:
    worker = Worker(str(service.workspace.root))
    worker.capacity.jobs = 1
    worker.run(idle_end=True)


def said(jobs: FineTuning, job: str) -> list[str]:
    return [event["message"] for event in jobs.events(job, 100)["data"]][::-1]


def ends(service: Service, job: str) -> list[str]:
    return [entry.body["new"] for entry in service.journal.all(about=job, names=[TuningMoved.name])]


def test_a_job_ends_and_says_so_before_its_state_does(service: Service, file: str) -> None:
    job = create(service, file)
    work(service)
    found = service.fine_tuning.get(job)
    assert (found["status"], found["error"]["code"]) == ("succeeded", None) if found["error"] else found["status"] == "succeeded"
    assert found["fine_tuned_model"].startswith("ft:all-minilm-l6-v2:")
    assert said(service.fine_tuning, job)[-2:] == [
        f"New fine-tuned model created: {found['fine_tuned_model']}",
        "The job has successfully completed",
    ]
    assert ends(service, job) == ["succeeded"]
    assert not {"started", "waiting", "deaths"} & found["luthier"].keys()


def test_a_stage_that_is_killed_goes_on(service: Service, file: str, monkeypatch: Any) -> None:
    job, train, deaths = create(service, file), Service.train, []

    def dying(self: Service, *args: Any) -> Any:
        if len(deaths) < 2:
            deaths.append(1)
            raise JobFailed("the stage process was ended by SIGKILL", "", KILLED)
        return train(self, *args)

    monkeypatch.setattr(Service, "train", dying)
    work(service)
    assert service.fine_tuning.get(job)["status"] == "succeeded"
    assert said(service.fine_tuning, job).count("The stage process was ended by SIGKILL; the job goes on where it was") == 2


@pytest.mark.parametrize(("cause", "most", "said"), [(OUT_OF_MEMORY, MOST_DEATHS, "more memory"), (KILLED, 12, "who kills it")])
def test_a_stage_that_is_killed_again_and_again_fails_the_job(
    service: Service, file: str, monkeypatch: Any, cause: str, most: int, said: str
) -> None:
    """For memory after a few times; by others, who know nothing against it, only when it has been tried very often."""
    job, deaths = create(service, file), []

    def dying(*_: Any) -> Any:
        deaths.append(1)
        raise JobFailed("the stage process was ended by SIGKILL", "", cause)

    monkeypatch.setattr(Service, "train", dying)
    monkeypatch.setattr("luthier.app.tuning_work.AGAIN_S", 0.0)
    if cause == KILLED:
        monkeypatch.setattr("luthier.app.tuning_work.MOST_ATTEMPTS", most)
    work(service)
    found = service.fine_tuning.get(job)
    assert found["status"] == "failed"
    assert f"{most + 1} times without getting any further" in found["error"]["message"]
    assert len(deaths) == most + 1
    assert said in found["error"]["hint"]


def test_a_defect_fails_the_job_at_once_and_is_named(service: Service, file: str, monkeypatch: Any) -> None:
    job = create(service, file)
    monkeypatch.setattr(Service, "evaluate", lambda *_: 1 / 0)
    work(service)
    found = service.fine_tuning.get(job)
    assert (found["status"], found["error"]["code"]) == ("failed", "job_failed")
    assert "ZeroDivisionError" in found["error"]["message"]
    assert ends(service, job) == ["failed"]


def test_a_full_disk_makes_a_job_wait(service: Service, file: str, monkeypatch: Any) -> None:
    job, train, tries = create(service, file), Service.train, []

    def full(self: Service, *args: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise NoSpace("the disk is full", "make room")
        return train(self, *args)

    monkeypatch.setattr(Service, "train", full)
    monkeypatch.setattr("luthier.app.tuning_work.WAIT_S", 0.1)
    work(service)
    assert service.fine_tuning.get(job)["status"] == "succeeded"
    assert "The job waits: the disk is full" in said(service.fine_tuning, job)


def test_a_job_that_was_paused_before_its_file_was_checked_has_it_checked(service: Service, monkeypatch: Any) -> None:
    monkeypatch.setattr("luthier.app.files.CHECKED_AT_ONCE_BYTES", 0)
    late = service.files.create("chats.jsonl", "fine-tune", [CHATS])
    assert service.files.get(late.id).status == "uploaded"
    job = create(service, late.id)
    service.fine_tuning.pause(job)
    assert service.fine_tuning.resume(job)["status"] == "validating_files"
    work(service)
    assert service.fine_tuning.get(job)["status"] == "succeeded"


def test_a_tuned_model_is_trained_on(service: Service, file: str) -> None:
    first = create(service, file)
    work(service)
    name = service.fine_tuning.get(first)["fine_tuned_model"]
    folder = Path(service.workspace.artifacts.get(service.models.artifact_of(name)).path)
    for part in ("model.safetensors", "tokenizer.json"):
        (folder / part).write_bytes(b"{}")
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}')
    with pytest.raises(UnknownName):
        create(service, file, model="ft:all-minilm-l6-v2:luthier::000000000000")
    base = service.fine_tuning.rows.get(create(service, file, model=name))
    assert base["spec"]["model"] == str(folder)
    assert base["model"] == name


def test_what_the_dummy_made_is_nobody_elses(service: Service, file: str) -> None:
    job = create(service, file)
    work(service)
    real = service.fine_tuning.intent(TuningRequest(model="all-minilm-l6-v2", training_file=file), "real").plan
    assert real.executor == "local"
    made = service.prepare(real, "real")
    assert made.id != service.fine_tuning.get(job)["luthier"]["dataset"]


def test_what_was_asked_is_what_is_echoed(service: Service, file: str) -> None:
    both = {"method": {"type": "supervised"}, "hyperparameters": {"batch_size": 8, "n_epochs": 2}}
    for more in ({}, {"train": {"method": "head", "seed": 5}}):
        found = service.fine_tuning.get(create(service, file, **both, **more))
        assert found["hyperparameters"] == {"batch_size": 8, "n_epochs": 2, "learning_rate_multiplier": 1.0}
        assert found["seed"] == (5 if more else 17)


def test_other_rows_and_unknown_columns_are_refused_when_a_job_comes(service: Service, file: str) -> None:
    table = service.files.create(
        "table.csv", "fine-tune", [b"body,topic\n" + b"".join(b"some words %d,a%d\n" % (n, n % 2) for n in range(30))]
    )
    service.files.check(table.id)
    with pytest.raises(SpecError, match="kind table"):
        create(service, file, validation_file=table.id)
    with pytest.raises(SpecError, match="no column 'subject'"):
        create(service, table.id, data={"map": {"text": "subject", "label": "topic"}})
    with pytest.raises(SpecError, match="training_file"):
        create(service, table.id, data={"train": ["/etc/passwd"]})
    job = create(service, table.id, data={"map": {"text": "body", "label": "topic"}})
    assert service.fine_tuning.rows.get(job)["spec"]["data"]["map"] == {"text": "body", "label": "topic"}
