from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from luthier.core import registry
from luthier.core.events import Event, PredictionMade, StageProgressed
from luthier.core.job import Job
from luthier.core.plan import Plan, TrainPlan
from luthier.core.ports import Footprint
from luthier.stages.train import run, stage
from luthier.stages.train.estimate import Estimate
from luthier.stages.train.request import depth_of
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
    """With the output layer fitted first where the method's own plan says so: the machine is measured on that, too."""
    events: list[Event] = []
    fitted = registry.get("methods", method).defaults("quick").get("fitted_head", False)
    summary = run(make_job(base, dataset, tmp_path, method=method, fitted_head=fitted), events.append)
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


def test_a_killed_training_is_compared_with_what_was_left_of_it() -> None:
    cost = Estimate(steps=100, features_s=7, steps_s=50, validation_s=20, checkpoints_s=10, save_s=1, memory_bytes=0)
    assert stage._of_this_try(cost, SimpleNamespace(steps=100, resumed_at=0)) == cost.wall_s == 88
    assert stage._of_this_try(cost, SimpleNamespace(steps=50, resumed_at=0)) == 7 + 40 + 1  # stopped early
    assert stage._of_this_try(cost, SimpleNamespace(steps=100, resumed_at=75)) == 20 + 1  # the features are on the disk


def test_fitting_the_output_layer_is_counted_work() -> None:
    """Two training rows of 5 tokens, one validation row of 3; a trunk of 10 FLOP a token, of which 4 are cached."""
    task = SimpleNamespace(length=lambda item: item)
    facts = {"footprint": Footprint(0, 0.0, 4.0, 0.0), "trunk_flop_per_token": 10.0}
    for fitted, more in ((False, 0.0), (True, 6.0 * 10)):
        request = SimpleNamespace(task=task, train=[5, 5], validation=[3], plan=TrainPlan(fitted_head=fitted))
        assert stage._flop(request, facts, SimpleNamespace(flop=1000.0)) == 1000 + 4 * 13 + more


@pytest.mark.parametrize("name", ["num_hidden_layers", "n_layers", "n_layer"])
def test_the_depth_of_a_base_model_by_any_name(tmp_path: Path, name: str) -> None:
    files.write_json(tmp_path / "config.json", {name: 6, "hidden_size": 8})
    assert depth_of(tmp_path) == 6
    files.write_json(tmp_path / "config.json", {"hidden_size": 8})
    assert depth_of(tmp_path) == 0


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
