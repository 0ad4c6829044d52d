"""Weights & Biases: a folder on this machine, nothing on the wire, and values that stay values."""

from __future__ import annotations

import importlib
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from luthier.core import registry
from luthier.core.errors import InputError, MissingExtra
from luthier.core.events import Event
from luthier.sinks._tracker import options
from luthier.sinks.wandb import KEYS, target_of
from luthier.testing import made

needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")


BLOCK, OPENING, HEAD, WHOLE, LAST = 32768, 7, struct.Struct("<IHB"), 1, 4
"""The file is LevelDB's log: blocks, after ``:W&B`` and a version, of pieces with checksum, length, and which part of a record they are."""


def _scanned(data: bytes) -> Iterator[bytes]:
    """The records of a ``.wandb`` file (the Python package has no reader of its own any more)."""
    assert data.startswith(b":W&B")
    at, parts = OPENING, b""
    while at + HEAD.size <= len(data):
        if BLOCK - at % BLOCK < HEAD.size:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = HEAD.unpack_from(data, at)
        if at + HEAD.size + length > len(data):
            return
        parts += data[at + HEAD.size : at + HEAD.size + length]
        at += HEAD.size + length
        if kind in (WHOLE, LAST):
            yield parts
            parts = b""


def _records(folder: Path) -> list[Any]:
    """Everything in the one offline run below the folder; a process of wandb's own writes the last of it after the run was finished."""
    record = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    found: list[Any] = []
    for _ in range(300):
        found = [record.FromString(data) for data in _scanned(path.read_bytes())]
        if found and found[-1].HasField("exit"):
            break
        time.sleep(0.1)
    return found


def _items(records: list[Any], part: str) -> dict[str, str]:
    """Key -> JSON of the updates of a part (``config``, ``summary``), the last one wins."""
    found: dict[str, str] = {}
    for one in records:
        updates = one.run.config.update if part == "config" and one.HasField("run") else []
        updates = [*updates, *(getattr(one, part).update if one.HasField(part) else [])]
        found |= {item.key or "/".join(item.nested_key): item.value_json for item in updates}
    return found


@needs_wandb
def test_an_offline_run_holds_everything(tmp_path: Path, story: Callable[..., list[Event]], follow: Callable[..., list[str]]) -> None:
    target = target_of(project="tickets", name="first; mode=online", entity="team", tags=["a,b", "c"], folder=str(tmp_path / "w"))
    assert follow("wandb", target, story()) == []
    records = _records(tmp_path / "w")
    (run,) = [one.run for one in records if one.HasField("run")]
    assert (run.project, run.display_name, run.entity, list(run.tags)) == ("tickets", "first; mode=online", "team", ["a,b", "c"])
    assert run.run_group == "support-1a2b3c4d"
    config = {item.key: item.value_json for one in records if one.HasField("run") for item in one.run.config.update}
    config |= _items(records, "config")
    assert config["train.learning_rate"] == "0.00012"
    curves = [{item.key or item.nested_key[0]: item.value_json for item in one.history.item} for one in records if one.HasField("history")]
    assert [(row["train/step"], row["validation/accuracy"]) for row in curves if "validation/accuracy" in row] == [
        ("10", "0.5"),
        ("20", "0.625"),
    ]
    summary = _items(records, "summary")
    assert summary["test/accuracy"] == "0.75"
    assert summary["luthier.state"] == '"succeeded"'
    assert records[-1].exit.exit_code == 0 or any(one.HasField("exit") and one.exit.exit_code == 0 for one in records)
    assert not any(path.is_file() for path in tmp_path.glob("w/wandb/offline-run-*/files/**/*")), (
        "no source, requirements or output is kept"
    )


@needs_wandb
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_nothing_goes_over_the_network(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom luthier.core import events, registry\n"
        f"take = registry.get('sinks', 'wandb').open('project=x;dir={tmp_path}/w')\n"
        "take.say = lambda text: sys.exit(text)\n"
        "take(events.RunStarted(run='a', plan={'task': 't'}))\n"
        "take(events.StepFinished(step=1, epoch=1, figures={'loss': 1}))\n"
        "take(events.RunFinished(run='a', seconds=1))\n"
    )
    log = tmp_path / "calls"
    done = subprocess.run(
        ["strace", "-f", "-e", "trace=connect,sendto,sendmsg", "-o", str(log), sys.executable, "-c", code],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("w/wandb/offline-run-*/*.wandb"))
    assert [line for line in log.read_text().splitlines() if "AF_INET" in line] == []


@needs_wandb
def test_any_event_is_taken(tmp_path: Path, follow: Callable[..., list[str]]) -> None:
    assert follow("wandb", str(tmp_path / "w"), list(made.events())) == []


@needs_wandb
def test_the_environment_cannot_make_it_online(tmp_path: Path, story: Callable[..., list[Event]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    take = registry.get("sinks", "wandb").open(str(tmp_path / "w"))
    for event in story():
        take(event)
    assert len(list(tmp_path.glob("w/wandb/offline-run-*"))) == 1


@pytest.mark.parametrize("text", ["plain", "a;mode=online", "100%", "%3B", "a,b", "x=y", "größe 🎻", "%2C"])
def test_a_value_stays_one_value(text: str) -> None:
    _, found = options("wandb", target_of(project=text, name=text, entity=text, tags=[text, "t"], folder="/w"), KEYS)
    assert found.keys() == {"project", "name", "entity", "tags", "dir"}
    from urllib.parse import unquote

    assert {unquote(found[key]) for key in ("project", "name", "entity")} == {text}
    assert [unquote(one) for one in found["tags"].split(",")] == [text, "t"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("mode=on", "mode=on is unknown"),
        ("mode=online", "needs an API key"),
        ("/a;dir=/b", "two folders"),
        ("projct=x", "cannot read 'projct=x'"),
        ("project=x;project=y", "given twice"),
    ],
)
def test_what_is_wrong_is_said_at_once(target: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luthier.sinks.wandb.find_spec", lambda name: True)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=message):
        registry.get("sinks", "wandb").open(target)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luthier.sinks.wandb.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as found:
        registry.get("sinks", "wandb").open("project=x")
    assert found.value.hint == "pip install 'luthier[wandb]'"
