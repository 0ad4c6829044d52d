"""What the machine does best is asked again when the machine is another, and a GPU's work is waited for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from luthier.core.plan import TrainPlan
from luthier.stages.train import machine
from luthier.stages.train.request import FitRequest


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
