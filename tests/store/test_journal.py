"""The journal: in order, read by cursor in pages, filtered, and complete when several processes write at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from luthier.core.events import EndpointRemoved, Event, FeedbackGiven, JobMoved, NoteSaid, RunFinished, RunStarted, read_event
from luthier.store.database import connect
from luthier.store.journal import Entry, Journal, subject

APPEND = """
import sys
from luthier.core.events import NoteSaid
from luthier.store.database import connect
from luthier.store.journal import Journal
journal = Journal(connect(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(80):
    journal.append([NoteSaid(text=f"{number}.{part}") for part in range(2)], about=sys.argv[2])
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    yield f"sqlite:///{tmp_path / 'luthier.db'}"
    connect.cache_clear()


@pytest.fixture
def journal(url: str) -> Journal:
    return Journal(connect(url))


def notes(*texts: str, at: float = 1.0) -> list[Event]:
    return [NoteSaid(text=text, at=at) for text in texts]


def texts(entries: list[Entry]) -> list[str]:
    return [entry.body["text"] for entry in entries]


def test_an_event_comes_back_as_it_was(journal: Journal) -> None:
    sent = JobMoved(job="j", stage="train", old="running", new="failed", error={"message": "größe 😀\n", "code": "error"}, at=5.25)
    journal.append([sent])
    (entry,) = journal.read()
    assert entry == Entry(1, 5.25, "job.moved", "j", sent.as_json())
    assert read_event(entry.body) == sent


def test_a_cursor_reads_on_where_it_stopped(journal: Journal) -> None:
    journal.append(notes("a", "b", "c"))
    first = journal.read(limit=2)
    assert texts(first) == ["a", "b"]
    assert texts(journal.read(first[-1].seq)) == ["c"]
    last = journal.read()[-1].seq
    assert journal.read(last) == []
    journal.append(notes("d"))
    assert texts(journal.read(last)) == ["d"]


def test_all_reads_every_page_once(journal: Journal) -> None:
    journal.append(notes(*(str(number) for number in range(2345))))
    assert texts(list(journal.all())) == [str(number) for number in range(2345)]
    assert len(list(journal.all(after=2000))) == 345


def test_what_an_event_is_about() -> None:
    assert subject(RunStarted(run="r")) == "r"
    assert subject(JobMoved(job="j", stage="s", old="a", new="b")) == "j"
    assert subject(FeedbackGiven(endpoint="e", id="1")) == "e"
    assert subject(NoteSaid(text="x")) == ""


@pytest.fixture
def filled(journal: Journal) -> Journal:
    journal.append([RunStarted(run="r1", at=10), *notes("one", at=11)], about="r1")
    journal.append([RunStarted(run="r2", at=12), *notes("two", "three", at=13), EndpointRemoved(endpoint="e", at=14)], about="r2")
    journal.append([RunFinished(run="r1", seconds=3, at=15)])
    return journal


def test_filters(filled: Journal) -> None:
    assert [e.name for e in filled.read(about="r1")] == ["run.started", "note.said", "run.finished"]
    assert texts(filled.read(about="r2", names=["note.said"])) == ["two", "three"]
    assert [e.subject for e in filled.read(about="e")] == ["e"], "an event that names its subject keeps it"
    assert [e.seq for e in filled.read(names=["run.started", "run.finished"])] == [1, 3, 7]
    assert [e.at for e in filled.read(since=13)] == [13, 13, 14, 15]
    assert [e.seq for e in filled.all(after=1, about="r1", since=11)] == [2, 7]
    assert filled.read(about="none") == []
    assert filled.read(names=["no.such"]) == []


def test_a_page_of_a_filtered_reading_is_full(filled: Journal) -> None:
    assert [e.seq for e in filled.read(limit=2, names=["run.started", "run.finished"])] == [1, 3]


def test_the_last_entries_are_oldest_first(filled: Journal) -> None:
    assert [e.seq for e in filled.last(2)] == [6, 7]
    assert [e.seq for e in filled.last(9, about="r1", names=["note.said", "run.started"])] == [1, 2]
    assert texts(filled.last(1, names=["note.said"])) == ["three"]
    assert filled.last(0) == []


def test_nothing_to_append_is_nothing(journal: Journal) -> None:
    journal.append([])
    assert journal.read() == []


def test_events_are_written_together_or_not_at_all(journal: Journal) -> None:
    broken = NoteSaid(text="b", data={"x": 1})
    object.__setattr__(broken, "at", None)
    with pytest.raises(Exception, match=r"NOT NULL|None"):
        journal.append([*notes("a"), broken])
    assert journal.read() == []


def test_a_subject_is_a_value_and_not_sql(journal: Journal) -> None:
    about = "x' OR '1'='1"
    journal.append(notes("a"), about=about)
    journal.append(notes("b"), about="other")
    assert texts(journal.read(about=about)) == ["a"]


def test_several_processes_append_at_once_and_nothing_is_lost(url: str, journal: Journal) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", APPEND, url, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    seen: list[Entry] = []
    while any(process.poll() is None for process in processes):
        seen += journal.read(seen[-1].seq if seen else 0, limit=7)
    seen += journal.all(after=seen[-1].seq if seen else 0)
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    wanted = [f"{number}.{part}" for number in range(80) for part in range(2)]
    for number in range(3):
        assert [entry.body["text"] for entry in seen if entry.subject == str(number)] == wanted, "in order, and read by cursor meanwhile"
    assert [entry.seq for entry in seen] == list(range(1, 481))
    assert all(a.subject == b.subject for a, b in zip(seen[::2], seen[1::2], strict=True)), "one append is not torn apart"
