"""What fits beside what: cores, memory, and a card for each job that wants one."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.app import capacity
from luthier.app.capacity import Capacity, cards

GIB = 2.0**30


def made(cores: int = 4, gib: float = 16, cards: tuple[str, ...] = (), jobs: int = 0) -> Capacity:
    found = Capacity(jobs)
    found.cores, found.memory_bytes, found.cards = cores, gib * GIB, cards
    return found


def job(threads: int = 1, gib: float = 1, **more: Any) -> dict[str, Any]:
    return {"job": True, "threads": threads, "memory_bytes": gib * GIB} | more


def test_cores_and_memory_are_enough_for_all_or_a_job_waits() -> None:
    machine = made()
    assert machine.seat(job(threads=3), [job()]) == ""
    assert machine.seat(job(threads=3), [job(), job()]) is None
    assert machine.seat(job(gib=15), [job()]) == ""
    assert machine.seat(job(gib=15.5), [job()]) is None
    assert machine.seat(job(threads=0), [job(threads=0)]) == "", "two a job, where it does not say"
    assert machine.seat(job(threads=0), [job(threads=0), job()]) is None


def test_one_alone_may_always_start() -> None:
    machine = made()
    assert machine.seat(job(threads=64, gib=100), []) == ""
    assert machine.too_large(job(gib=100))
    assert not machine.too_large(job(gib=16))
    assert machine.seat(job(threads=64), [job(executor="azure")]) == "", "what runs elsewhere takes nothing here"


def test_the_most_at_once_is_of_jobs() -> None:
    machine = made(jobs=2)
    assert machine.seat(job(), [job()]) == ""
    assert machine.seat(job(), [job(), job()]) is None
    assert machine.seat(job(executor="azure"), [job(), job()]) is None
    assert machine.seat(job(), [job(), job(job=False)]) == ""
    assert machine.seat(job(job=False), [job(), job()]) == ""


def test_each_job_has_a_card_of_its_own() -> None:
    machine = made(cores=2, cards=("0", "1"))
    assert machine.seat(job(threads=8), []) == "0"
    assert machine.seat(job(threads=8), [job(card="0")]) == "1"
    assert machine.seat(job(threads=8), [job(card="1")]) == "0", "a card that was given back is given again"
    assert machine.seat(job(), [job(card="0"), job(card="1")]) is None
    assert machine.seat(job(gib=16), [job(card="0")]) is None, "memory counts beside cards too"


def test_a_job_for_the_processor_takes_cores_and_no_card() -> None:
    machine = made(cores=2, cards=("0", "1"))
    both = [job(card="0"), job(card="1")]
    assert machine.seat(job(device="cpu", threads=2), []) == ""
    assert machine.seat(job(device="cpu", threads=1), both) is None, "each of the two keeps a core busy"
    assert machine.seat(job(device="cpu", threads=1), both[:1]) == ""
    assert machine.seat(job(), [job(device="cpu", threads=2)]) == "0"


def test_who_takes_turns_needs_memory_only() -> None:
    machine = made(cores=2)
    export = job(job=False, threads=0, device="cpu")
    assert machine.seat(export, [job(threads=2)]) is None
    assert machine.seat(export, [job(threads=2)], crowded=True) == ""
    assert machine.seat(export, [job(threads=2, gib=15.5)], crowded=True) is None


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (None, ("0", "1", "2")),
        ("1", ("1",)),
        ("2, 0", ("2", "0")),
        ("0,-1,2", ("0",)),
        ("1,1,0", ("1", "0")),
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("GPU-8932f937-d72c-4106,MIG-GPU-8932f937/1/0", ("GPU-8932f937-d72c-4106", "MIG-GPU-8932f937/1/0")),
    ],
)
def test_an_operator_who_names_cards_decides(monkeypatch: pytest.MonkeyPatch, said: str | None, found: tuple[str, ...]) -> None:
    monkeypatch.setattr(capacity, "glob", lambda pattern: [f"/dev/nvidia{n}" for n in range(3)])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if said is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    assert cards() == found


def test_where_there_is_no_card_none_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "glob", lambda pattern: [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert cards() == ()


@pytest.mark.parametrize(("said", "most"), [("max", 16.0), (str(int(4 * GIB)), 4.0), (str(2**62), 16.0), ("", 16.0)])
def test_a_container_has_its_own_memory(monkeypatch: pytest.MonkeyPatch, said: str, most: float) -> None:
    monkeypatch.setattr(capacity.Path, "read_text", lambda self, **_: said)
    monkeypatch.setattr(capacity.psutil, "virtual_memory", lambda: type("Memory", (), {"total": 16 * GIB}))
    assert capacity.memory_bytes() == pytest.approx(capacity.MEMORY_SHARE * most * GIB)
