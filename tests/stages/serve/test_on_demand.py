"""Models that are opened when they are asked for: once, a bounded number, never closed under somebody who asks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from luthier.core.errors import Damaged, Overloaded
from luthier.stages.serve.host import Host
from luthier.stages.serve.on_demand import OnDemand
from luthier.store.database import connect
from luthier.store.journal import Journal


def _info(name: str, export: str = "export-0", folder: Path = Path()) -> Any:
    return SimpleNamespace(name=name, task="text-classification", export_id=export, model_id="model-1", folder=folder)


class _Opener:
    """Opens nothing, and writes down what it was asked."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.slow = threading.Event()
        self.slow.set()

    def __call__(self, info: Any) -> Any:
        self.opened.append(info.name)
        assert self.slow.wait(10)
        if info.name == "bad":
            raise Damaged("torn")
        name = f"{info.name} {info.export_id}"
        return SimpleNamespace(info=info, endpoint=SimpleNamespace(close=lambda: self.closed.append(name)))


@pytest.fixture
def opener() -> _Opener:
    return _Opener()


@pytest.fixture
def models(opener: _Opener) -> OnDemand:
    return OnDemand(opener, most=2)


def test_a_model_is_opened_once_and_the_longest_unused_gives_way(models: OnDemand, opener: _Opener) -> None:
    for name in ("a", "b", "a", "c"):
        with models.holding(_info(name)):
            pass
    assert opener.opened == ["a", "b", "c"]
    assert opener.closed == ["b export-0"]
    assert models.names() == ["a", "c"]


def test_a_model_that_is_asked_is_not_closed(models: OnDemand, opener: _Opener) -> None:
    with models.holding(_info("a")):
        for name in ("b", "c"):
            with models.holding(_info(name)):
                pass
        assert opener.closed == ["b export-0"]
        with models.holding(_info("c")), pytest.raises(Overloaded):
            models.hold(_info("d"))
    with models.holding(_info("d")):
        pass


def test_another_export_takes_the_place_once_the_old_one_has_answered(models: OnDemand, opener: _Opener) -> None:
    with models.holding(_info("a")) as old:
        with models.holding(_info("a", "export-1")) as new:
            assert new is not old
        assert opener.closed == []
    assert opener.closed == ["a export-0"]
    assert models.hold_open("a", "export-0") is None


def test_what_cannot_be_opened_takes_no_place(models: OnDemand, opener: _Opener) -> None:
    for _ in range(2):
        with pytest.raises(Damaged):
            models.hold(_info("bad"))
    assert models.names() == []
    assert opener.opened == ["bad", "bad"]


def test_many_who_ask_at_once_open_it_once_and_others_do_not_wait(models: OnDemand, opener: _Opener) -> None:
    with models.holding(_info("ready")):
        pass
    opener.slow.clear()
    threads = [threading.Thread(target=lambda: models.release(models.hold(_info("a")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    start = time.perf_counter()
    with models.holding(_info("ready")):
        pass
    assert models.hold_open("a") is None
    assert time.perf_counter() - start < 5
    opener.slow.set()
    for thread in threads:
        thread.join()
    assert opener.opened.count("a") == 1


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    journal = Journal(connect(f"sqlite:///{tmp_path / 'journal.db'}"))
    made = Host(SimpleNamespace(list=list), journal, workers=1, on_demand=1)
    yield made
    made.close()


def test_a_host_answers_with_models_that_are_no_endpoints(host: Host, export_folder: Path, exported: Any) -> None:
    info = _info("ft:a", folder=export_folder)
    (answer,) = asyncio.run(host.predict_with(info, exported.messages(1)))
    assert host.find(info).endpoint.schema["labels"].count(answer.prediction.output) == 1
    (vector,) = asyncio.run(host.embed_with(info, exported.messages(1)))
    assert vector.prediction.output.shape == (384,)
    assert not host.serves("ft:a")
    assert host.all() == []
    host.close()
    kept = list(host.journal.all(names=("prediction.answered",)))  # type: ignore[attr-defined]
    assert [(entry.subject, entry.body["id"]) for entry in kept] == [("ft:a", answer.prediction.id)]


def test_a_caller_who_leaves_while_a_model_is_opened_holds_nothing(
    host: Host, export_folder: Path, exported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    opening = host._on_demand._opened

    def slowly(info: Any) -> Any:
        assert go_on.wait(10)
        return opening(info)

    monkeypatch.setattr(host._on_demand, "_opened", slowly)

    async def leave() -> None:
        asking = asyncio.create_task(host.predict_with(_info("ft:a", folder=export_folder), exported.messages(1)))
        await asyncio.sleep(0.1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        go_on.set()
        for _ in range(200):
            if host._on_demand._held and not next(iter(host._on_demand._held.values())).busy:
                break
            await asyncio.sleep(0.05)

    asyncio.run(leave())
    host.find(_info("ft:b", folder=export_folder))
    assert host._on_demand.names() == ["ft:b"]
