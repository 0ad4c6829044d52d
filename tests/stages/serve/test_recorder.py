"""The journal's writer: what could not be written by the end is counted, not forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.core.events import Event, PredictionFailed
from luthier.stages.serve.recorder import Recorder


class Full:
    """A journal on a disk that is full until ``free`` is set."""

    def __init__(self) -> None:
        self.free = False
        self.kept: list[Event] = []

    def append(self, events: Sequence[Event]) -> None:
        if not self.free:
            raise OSError("the disk is full")
        self.kept.extend(events)


def _events(count: int) -> list[Event]:
    return [PredictionFailed(endpoint="support", code="error", message=str(number)) for number in range(count)]


def test_events_that_wait_when_the_last_write_fails_are_dropped_and_counted() -> None:
    recorder = Recorder(Full())
    recorder.record(_events(3))
    recorder.close()
    assert recorder.dropped == 3


def test_what_failed_is_written_later_in_order_and_not_counted() -> None:
    journal = Full()
    recorder = Recorder(journal)
    recorder.record(_events(1200))
    recorder._write()
    journal.free = True
    recorder.close()
    assert [event.message for event in journal.kept if isinstance(event, PredictionFailed)] == [str(number) for number in range(1200)]
    assert recorder.dropped == 0
