"""Load on servers whose behaviour is known: stalls are seen, errors are counted, the generator's own lateness is not the server's."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from luthier.client.load import step as stepping
from luthier.client.load.line import Line, Target
from luthier.client.load.measuring import Load, measure
from luthier.client.load.objective import objectives
from luthier.client.load.step import Generator, Step, quantile
from luthier.core.errors import LuthierError, NotPossible

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Answers:
    """A server in a thread. ``delay`` gives the seconds that the n-th request waits, ``wire`` what is answered; one at a time."""

    def __init__(self, delay: Callable[[int], float], wire: Callable[[int], bytes] = lambda _number: OK) -> None:
        self.delay, self.wire, self.count = delay, wire, 0

    @contextmanager
    def listening(self) -> Iterator[str]:
        loop, ready, port = asyncio.new_event_loop(), threading.Event(), [0]

        async def serve() -> None:
            self.turn = asyncio.Lock()
            server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
            port[0] = server.sockets[0].getsockname()[1]
            ready.set()

        thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.run_forever()), daemon=True)
        thread.start()
        ready.wait(5)
        yield f"http://127.0.0.1:{port[0]}"
        asyncio.run_coroutine_threadsafe(self._hung_up(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)

    @staticmethod
    async def _hung_up() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                async with self.turn:
                    self.count += 1
                    number = self.count
                    await asyncio.sleep(self.delay(number))
                writer.write(self.wire(number))
        except (EOFError, ConnectionError):
            writer.close()


def stepped(url: str, rate: float, seconds: float, clients: int = 8, slo: str = "p95=50ms") -> Step:
    generator = Generator(Target.of(url, "/predict", "lt-key"), [b"{}"], clients, objectives([slo]))
    return asyncio.run(generator.run(rate, seconds))


def test_a_stall_makes_the_requests_behind_it_late() -> None:
    with Answers(lambda number: 0.4 if number == 20 else 0.0).listening() as url:
        step = stepped(url, 100, 1.0)
    # 0.4 s of 100 requests a second: about 40 waited, 0.2 s in the mean. A closed loop of 8 clients would have seen 8 of them.
    assert sum(latency > 0.1 for latency in step.latencies) > 15
    assert step.milliseconds("p95") > 200
    assert step.missed(objectives(["p95=50ms"])) == ["p95=50ms"]
    assert 60 < step.requests < 140


def test_the_arrivals_are_those_of_the_seed() -> None:
    with Answers(lambda _number: 0.0).listening() as url:
        first, second = (stepped(url, 80, 0.5).requests for _ in range(2))
    assert first == second > 0


def test_more_than_it_can_is_seen_as_saturation_and_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "BEHIND_S", 0.4)
    monkeypatch.setattr(stepping, "DRAIN_S", 0.1)
    with Answers(lambda _number: 0.05).listening() as url:  # 20 a second
        step = stepped(url, 200, 6.0, slo="p95=20ms")
    assert step.cut_short
    assert step.saturated
    assert step.seconds < 3
    assert step.unanswered > 0
    assert step.answered_per_s < 25
    assert step.queued > 0


def test_errors_are_counted_by_what_they_are_and_are_no_latencies() -> None:
    wires = [
        OK,
        b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ]
    with Answers(lambda _number: 0.0, lambda number: wires[number % 3]).listening() as url:
        step = stepped(url, 90, 0.5)
    assert set(step.errors) == {"status 503"}
    assert 0.25 < step.error_share < 0.42
    assert len(step.latencies) == step.requests - step.errors.total()
    assert "errors=1%" in step.missed(objectives(["p95=1s"]))


def test_a_line_that_the_server_closed_meanwhile_is_opened_again() -> None:
    closing = OK.replace(b"content-length", b"connection: close\r\ncontent-length")
    with Answers(lambda _number: 0.0, lambda _number: closing).listening() as url:

        async def twice() -> list[int]:
            line = Line(Target.of(url, "/"))
            return [(await line.ask(b"{}"))[0] for _ in range(3)]

        assert asyncio.run(twice()) == [200, 200, 200]


def test_a_generator_that_is_late_itself_is_not_the_servers_limit() -> None:
    step = Step(10.0, seconds=1.0, latencies=[0.2] * 10, late=[0.15] * 10, answered=10)
    assert step.missed(objectives(["p95=50ms"]))
    assert step.behind(objectives(["p95=50ms"]))
    assert not Step(10.0, seconds=1.0, latencies=[0.2] * 10, late=[0.001] * 10, answered=10).behind(objectives(["p95=50ms"]))
    assert Step(10.0, cpu_share=0.95).behind(objectives([]))
    load = Load("support", "http://elsewhere", 8, objectives([]), 0, limited_by="generator")
    assert any("the server may carry more" in note for note in load.notes())


@pytest.mark.long
def test_the_search_finds_what_a_server_of_known_speed_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(stepping, "DRAIN_S", 0.1)
    with Answers(lambda _number: 0.01).listening() as url:  # at most 100 a second, one after the other
        load = measure(
            Load("support", url, 16, objectives(["p95=80ms"]), 1),
            "/",
            [b"{}"],
            key="",
            duration_s=3.0,
            tell=lambda *one: told.append(one[2]),
        )
    assert 15 < load.best < 100
    assert load.limited_by in ("server", "time")
    assert any(step.saturated for step in load.steps)
    assert told[0] == 3.0
    said = load.as_json()
    assert said["steps"][0]["generator"]["cpu_share"] < 0.9
    assert said["objectives"] == ["p95=80ms", "errors=1%"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """As in a command's own process: other tests of this one may have left another handler, with which asyncio heeds no Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_keeps_what_was_measured() -> None:
    seen: list[Step] = []

    def tell(_what: str, step: Step | None, _left: float) -> None:
        if step is not None:
            seen.append(step)
            threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()

    with Answers(lambda _number: 0.002).listening() as url:
        start = time.monotonic()
        load = measure(Load("support", url, 4, objectives([]), 0), "/", [b"{}"], key="", duration_s=12.0, tell=tell)
    assert load.limited_by == "stopped"
    assert load.steps[0] is seen[0]
    assert time.monotonic() - start < 14
    assert any("stopped by hand" in note for note in load.notes())


def test_what_refuses_or_is_not_there_is_said_before_any_load() -> None:
    load = Load("support", "http://127.0.0.1:9", 4, objectives([]), 0)
    with pytest.raises(NotPossible, match="no server answers"):
        measure(load, "/", [b"{}"], key="", duration_s=1, tell=lambda *_said: None)
    body = b'{"error": {"message": "unknown endpoint", "code": "not_found", "hint": "x"}}'
    refusing = b"HTTP/1.1 404 No\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    with Answers(lambda _number: 0.0, lambda _number: refusing).listening() as url, pytest.raises(LuthierError, match="unknown endpoint"):
        measure(Load("support", url, 4, objectives([]), 0), "/", [b"{}"], key="", duration_s=1, tell=lambda *_said: None)


def test_quantiles_are_of_the_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [quantile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50.0, 95.0, 99.0, 100.0]
    assert quantile([], 0.5) == 0.0
    assert quantile([3.0], 0.99) == 3.0
