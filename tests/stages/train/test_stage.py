from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from luthier.core.events import Event, PredictionMade, StageProgressed
from luthier.core.job import Job
from luthier.core.plan import Plan, TrainPlan
from luthier.stages.train import run
from luthier.stages.train.threads import cores, environment
from luthier.store import files

OUT = {
    "model.safetensors",
    "config.json",
    "network.json",
    "tokenizer.json",
    "schema.json",
    "plan.json",
    "curves.json",
    "curves.svg",
    "training.json",
}


def make_job(base: Path, dataset: Path, work: Path, **train: Any) -> Job:
    work.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        name="try", task="text-classification", model="tiny", train=TrainPlan(**{"threads": 1, "batch_tokens": 96, "epochs": 3, **train})
    )
    inputs = {"dataset": str(dataset), "base": str(base)}
    return Job(id="j", run="r", stage="train", plan=plan, inputs=inputs, work=str(work))


@pytest.mark.parametrize("method", ["full", "top", "lora", "head", "dummy"])
def test_writes_the_whole_model(base: Path, dataset: Path, tmp_path: Path, method: str) -> None:
    events: list[Event] = []
    summary = run(make_job(base, dataset, tmp_path, method=method), events.append)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} >= OUT
    training, plan = files.read_json(out / "training.json"), files.read_json(out / "plan.json")
    assert training["steps"] == summary["steps"] > 0
    assert plan["train"]["max_tokens"] == files.read_json(out / "schema.json")["max_tokens"] > 0
    assert plan["train"]["precision"] == "fp32"
    assert (out / "curves.svg").read_text().startswith("<svg")
    predictions = [event for event in events if isinstance(event, PredictionMade)]
    assert predictions[0].wall_s > 0
    assert predictions[0].memory_bytes > 1e6
    last = [event for event in events if isinstance(event, StageProgressed) and event.phase == "train"][-1]
    assert last.done == last.total == training["steps"]
    assert {"loss", "tokens_per_s", "mfu"} <= last.figures.keys()


def test_killed_at_random_moments_and_started_again_it_ends_with_identical_weights(base: Path, dataset: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 12, "checkpoint_s": 0.05, "average_share": 0.3}
    whole = make_job(base, dataset, tmp_path / "whole", **settings)
    run(whole, lambda event: None)
    torn = make_job(base, dataset, tmp_path / "torn", **settings)
    path = tmp_path / "job.json"
    path.write_text(torn.model_dump_json())
    command = [sys.executable, "-m", "luthier.stages", str(path)]
    for moment in range(3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == ("note.said", "checkpoint.written", "step.finished")[moment]:
                time.sleep(0.05 * moment)
                os.kill(process.pid, signal.SIGKILL)
                break
        process.wait()
        process.stdout.close()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    for name in ("model.safetensors", "curves.json", "plan.json", "schema.json"):
        assert files.sha256(tmp_path / "whole" / "out" / name) == files.sha256(tmp_path / "torn" / "out" / name), name


def test_the_machine_is_measured_once(base: Path, dataset: Path, tmp_path: Path) -> None:
    run(make_job(base, dataset, tmp_path), lambda event: None)
    before = (tmp_path / "machine.json").read_bytes()
    run(make_job(base, dataset, tmp_path), lambda event: None)
    assert (tmp_path / "machine.json").read_bytes() == before


def test_environment_imports_nothing_heavy() -> None:
    code = (
        "import sys; import luthier.stages.train.threads, luthier.stages.train;"
        "print([name for name in ('torch', 'transformers', 'sklearn') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    plan = Plan(name="x", task="t", model="m")
    assert environment(plan)["OMP_NUM_THREADS"] == str(cores())
    assert environment(plan.model_copy(update={"train": TrainPlan(threads=1)}))["OMP_NUM_THREADS"] == "1"
