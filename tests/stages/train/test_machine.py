"""What the machine does best is asked again when the machine is another, and a GPU's work is waited for."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.core.errors import NotPossible
from luthier.core.plan import TrainPlan
from luthier.stages.train import machine
from luthier.stages.train.request import FitRequest
from luthier.store import files


def test_the_device_has_done_the_work_when_the_clock_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("waited"))
    machine._median(lambda: done.append("asked"), 2, "cuda")
    assert done == ["asked", "waited"] * 3
    done.clear()
    machine._median(lambda: done.append("asked"), 2, "cpu", warm=False)
    assert done == ["asked"] * 2


def test_a_choice_is_not_shared_with_another_machine_or_version(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    request = FitRequest(small.task, small.base, small.schema, TrainPlan(), small.train)
    first = machine._key(request)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with_gpu = machine._key(request)
    monkeypatch.setattr(machine, "VERSION", machine.VERSION + 1)
    assert len({first, with_gpu, machine._key(request)}) == 3


def test_a_training_that_was_taken_over_from_a_machine_with_a_gpu_goes_on_without(small: Any, tmp_path: Path) -> None:
    request = FitRequest(small.task, small.base, small.schema, TrainPlan(threads=1), small.train)
    here = machine.choose(request, tmp_path)
    files.write_json(tmp_path / "machine.json", asdict(replace(here, device="cuda", precision="bf16")))
    again = machine.choose(request, tmp_path)
    assert (again.device, again.precision) == ("cpu", "fp32")
    assert machine.choose(request, tmp_path) == again, "it is written down"


def test_a_gpu_that_is_asked_for_must_be_there(small: Any, tmp_path: Path) -> None:
    request = FitRequest(small.task, small.base, small.schema, TrainPlan(device="cuda"), small.train)
    with pytest.raises(NotPossible, match=r"train\.device"):
        machine.choose(request, tmp_path)
