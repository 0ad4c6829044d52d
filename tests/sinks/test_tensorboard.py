"""The log folder read back by TensorBoard's own reader."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from luthier.core import registry
from luthier.core.errors import InputError, MissingExtra
from luthier.core.events import Event
from luthier.sinks.tensorboard import pictures
from luthier.testing import made

needs_tensorboard = pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")


def _read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder))
    reader.Reload()
    return reader


@needs_tensorboard
def test_the_folder_is_read_back(tmp_path: Path, story: Callable[..., list[Event]], follow: Callable[..., list[str]]) -> None:
    assert follow("tensorboard", str(tmp_path / "logs"), story()) == []
    reader = _read(tmp_path / "logs" / "support-1a2b3c4d")
    assert [(one.step, one.value, one.wall_time) for one in reader.Scalars("validation/accuracy")] == [(10, 0.5, 1001), (20, 0.625, 1002)]
    assert [(one.step, one.value) for one in reader.Scalars("train/loss")] == [(5, 1.5)]
    assert reader.Scalars("test/accuracy/low")[0].value == 0.5
    plan = reader.Tensors("plan/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert "| train.learning_rate | 0.00012 |" in plan
    facts = reader.Tensors("run/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert "accuracy 0.750 < 0.900 missed" in facts
    assert "| luthier.state | succeeded |" in facts
    if find_spec("matplotlib") is not None:
        assert {"test/confusion", "test/reliability", "test/roc_curve"} <= set(reader.Tags()["images"])


@needs_tensorboard
def test_a_run_that_goes_on_adds_to_its_folder(tmp_path: Path, story: Callable[..., list[Event]], follow: Callable[..., list[str]]) -> None:
    whole = story()
    assert follow("tensorboard", "", whole[:5]) == []
    assert follow("tensorboard", "", [*story(resumed=True)[:1], *whole[5:]]) == []
    reader = _read(tmp_path / "home" / "tensorboard" / "support-1a2b3c4d")
    assert [one.step for one in reader.Scalars("validation/accuracy")] == [10, 20]


@needs_tensorboard
def test_any_event_is_taken(tmp_path: Path, follow: Callable[..., list[str]]) -> None:
    assert follow("tensorboard", str(tmp_path / "logs"), list(made.events())) == []
    assert all(path.parent.parent == tmp_path for path in (tmp_path / "logs").iterdir()), "a name cannot leave the folder"


@needs_tensorboard
def test_a_folder_that_cannot_be_written_is_said_once(
    tmp_path: Path, story: Callable[..., list[Event]], follow: Callable[..., list[str]]
) -> None:
    (tmp_path / "file").write_text("")
    complaints = follow("tensorboard", str(tmp_path / "file"), story())
    assert len(complaints) == 1
    assert "sink tensorboard" in complaints[0]


@needs_tensorboard
def test_torch_and_tensorflow_are_not_needed(tmp_path: Path) -> None:
    code = (
        "import sys\nfor name in ('torch', 'tensorflow'): sys.modules[name] = None\n"
        "from luthier.core import events, registry\n"
        f"take = registry.get('sinks', 'tensorboard').open({str(tmp_path)!r})\n"
        "take.say = lambda text: sys.exit(text)\n"
        "take(events.RunStarted(run='a', plan={'task': 't'}))\n"
        "take(events.StepFinished(step=1, epoch=1, figures={'loss': 1}))\n"
        "take(events.RunFinished(run='a', seconds=1))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "a").glob("events.out.tfevents.*"))


def test_pictures_are_png_of_the_size_that_is_said() -> None:
    pytest.importorskip("matplotlib")
    found = pictures(
        {"figures": {"confusion": {"labels": ["a", "$b"], "matrix": [[1, 0], [0, 0]]}, "pr_curve": {"x": [0, 1], "y": [1, 0]}}}
    )
    assert found.keys() == {"confusion", "pr_curve"}
    for png, width, height in found.values():
        assert png.startswith(b"\x89PNG")
        assert struct.unpack(">II", png[16:24]) == (width, height)


def test_pictures_leave_out_what_cannot_be_read() -> None:
    labels = [str(number) for number in range(200)]
    assert pictures({"figures": {"confusion": {"labels": labels, "matrix": []}, "reliability": [], "roc_curve": {}}}) == {}
    assert pictures({}) == {}


def test_what_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="cannot read 'name=x'"):
        registry.get("sinks", "tensorboard").open("logs;name=x")
    monkeypatch.setattr("luthier.sinks.tensorboard.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as found:
        registry.get("sinks", "tensorboard").open("logs")
    assert found.value.hint == "pip install 'luthier[tensorboard]'"
