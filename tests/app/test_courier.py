"""Deliveries: signed, repeated with pauses, given up, taken over from the dead, and never made twice."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from sqlalchemy import select

from luthier.app import courier as at_work
from luthier.app.courier import BACK_OFF_S, LEASE_S, Courier, pause_s
from luthier.app.leases import owner
from luthier.app.posting import Silent
from luthier.app.webhooks import SENT, Webhooks
from luthier.store.tables import DELIVERIES, WEBHOOKS
from luthier.store.workspace import Workspace

SUCCEEDED = SENT[0]
URL = "https://example.com/hook"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a database for all tests of this file."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres").database())
    return f"sqlite:///{tmp_path_factory.mktemp('courier') / 'luthier.db'}"


@pytest.fixture
def webhooks(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Webhooks:
    """An empty workspace's."""
    monkeypatch.setenv("LUTHIER_DATABASE", database)
    made = Webhooks(Workspace(tmp_path), resolver=lambda *_: ["93.184.216.34"])
    with made.engine.begin() as connection:
        connection.execute(DELIVERIES.delete())
        connection.execute(WEBHOOKS.delete())
    return made


class Post:
    """Stands for ``posting.post``: answers as it is told, and keeps what it was given."""

    def __init__(self, *answers: int | Exception, wait_s: float = 0.0) -> None:
        self.answers, self.wait_s = list(answers), wait_s
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, url: str, event: dict[str, Any], _secrets: list[str], **_: object) -> int:
        self.sent.append((url, event))
        time.sleep(self.wait_s)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return answer


def _told(webhooks: Webhooks, jobs: int = 1, url: str = URL) -> Any:
    made = webhooks.create("x", url, SENT)
    for number in range(jobs):
        webhooks.notify(SUCCEEDED, {"id": f"ftjob-{number}"})
    return made


def _rows(webhooks: Webhooks) -> list[Any]:
    with webhooks.engine.connect() as connection:
        return list(connection.execute(select(DELIVERIES).order_by(DELIVERIES.c.created_at)).all())


def _set(webhooks: Webhooks, **values: Any) -> None:
    with webhooks.engine.begin() as connection:
        connection.execute(DELIVERIES.update().values(**values))


def test_the_client_verifies_what_arrives(webhooks: Webhooks, receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_WEBHOOK_PRIVATE", "1")
    mine = Webhooks(webhooks.workspace)
    made = mine.create("x", receiver.url, SENT)
    mine.notify(SUCCEEDED, {"id": "ftjob-1"})
    assert Courier(webhooks.engine).deliver_due(10) == 1
    (sent,) = receiver.requests
    event = OpenAI(api_key="none", webhook_secret=made.secret).webhooks.unwrap(sent.body, sent.headers)
    assert (event.type, event.data.id, event.object) == (SUCCEEDED, "ftjob-1", "event")
    (row,) = _rows(webhooks)
    assert (row.state, row.attempts, row.last_error, row.lease_token) == ("delivered", 1, "", "")
    assert Courier(webhooks.engine).deliver_due(10) == 0
    assert len(receiver.requests) == 1


def test_private_addresses_are_judged_at_every_delivery(webhooks: Webhooks, receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was allowed when the webhook was made is not allowed for ever."""
    monkeypatch.setenv("LUTHIER_WEBHOOK_PRIVATE", "1")
    _told(Webhooks(webhooks.workspace), url=receiver.url)
    monkeypatch.delenv("LUTHIER_WEBHOOK_PRIVATE")
    assert Courier(webhooks.engine).deliver_due() == 1
    assert receiver.requests == []
    assert "is not a public address" in _rows(webhooks)[0].last_error
    _set(webhooks, next_at=0.0)
    assert Courier(webhooks.engine, allow_private=True).deliver_due() == 1
    assert len(receiver.requests) == 1


def test_failures_are_repeated_with_growing_pauses_and_then_given_up(webhooks: Webhooks) -> None:
    _told(webhooks)
    post = Post(500, 404, 301, Silent("nobody there"), 429, 503, 400)
    for attempt, pause in enumerate(BACK_OFF_S, 1):
        before = time.time()
        assert Courier(webhooks.engine, post=post).deliver_due() == 1
        (row,) = _rows(webhooks)
        assert (row.state, row.attempts, row.lease_token) == ("pending", attempt, "")
        assert before + pause * 0.75 <= row.next_at <= time.time() + pause
        assert row.last_error
        assert Courier(webhooks.engine, post=post).deliver_due() == 0, "it is not due yet"
        _set(webhooks, next_at=time.time() - 1)
    assert Courier(webhooks.engine, post=post).deliver_due() == 1
    (row,) = _rows(webhooks)
    assert (row.state, row.attempts, row.last_error) == ("failed", 7, "the receiver answered 400")
    assert Courier(webhooks.engine, post=post).deliver_due() == 0
    assert len({str(event) for _, event in post.sent}) == 1, "each time the same event with the same id"


def test_pauses_differ_and_are_never_longer_than_said() -> None:
    for attempt, pause in enumerate(BACK_OFF_S, 1):
        drawn = [pause_s(attempt) for _ in range(100)]
        assert pause * 0.75 <= min(drawn) < max(drawn) <= pause


def test_gone_disables_the_webhook(webhooks: Webhooks) -> None:
    made = _told(webhooks, jobs=2)
    post = Post(410)
    courier = Courier(webhooks.engine, post=post)
    assert courier.deliver_due(1) == 1
    assert webhooks.get(made.id).state == "disabled"
    assert courier.deliver_due() == 0
    webhooks.notify(SUCCEEDED, {"id": "later"})
    first, second = sorted(_rows(webhooks), key=lambda row: -row.attempts)
    assert (first.state, second.state, second.last_error) == ("failed", "failed", "the webhook was disabled")
    assert len(post.sent) == 1


def test_gone_from_an_address_that_was_changed_meanwhile_disables_nothing(webhooks: Webhooks) -> None:
    made = _told(webhooks)

    def post(*_: object, **__: object) -> int:
        webhooks.update(made.id, url=URL + "/new")
        return 410

    Courier(webhooks.engine, post=post).deliver_due()
    assert webhooks.get(made.id).state == "enabled"


def test_a_delivery_whose_webhook_is_gone_ends(webhooks: Webhooks) -> None:
    made = _told(webhooks)
    with webhooks.engine.begin() as connection:
        connection.execute(WEBHOOKS.delete().where(WEBHOOKS.c.id == made.id))
    assert Courier(webhooks.engine, post=Post()).deliver_due() == 0
    assert _rows(webhooks)[0].last_error == "the webhook was deleted"


def test_many_couriers_deliver_each_once(webhooks: Webhooks) -> None:
    _told(webhooks, jobs=30)
    post = Post(wait_s=0.005)
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: Courier(webhooks.engine, post=post).deliver_due(30), range(4)))
    assert sum(made) == 30
    ids = [event["id"] for _, event in post.sent]
    assert len(ids) == len(set(ids)) == 30
    assert {row.state for row in _rows(webhooks)} == {"delivered"}


def test_one_that_is_held_is_left_and_one_of_the_dead_is_taken_over(webhooks: Webhooks) -> None:
    _told(webhooks)
    post = Post()
    courier = Courier(webhooks.engine, post=post)
    # Longer than a lease by a little: taken by another machine's clock, or since this courier looked at its own.
    held = {"lease_token": "theirs", "lease_expires_at": time.time() + LEASE_S + 5}
    _set(webhooks, lease_owner=owner(), **held)
    assert courier.deliver_due() == 0
    _set(webhooks, lease_owner="elsewhere:1:1", **held)
    assert courier.deliver_due() == 0
    _set(webhooks, lease_owner=owner().rsplit(":", 1)[0] + ":1", **held)  # a process of this machine that is gone
    assert courier.deliver_due() == 1
    _set(webhooks, state="pending", next_at=0.0, lease_owner="elsewhere:1:1", lease_token="theirs", lease_expires_at=time.time() - 1)
    assert courier.deliver_due() == 1
    assert len(post.sent) == 2


def test_a_courier_that_lost_its_row_changes_nothing(webhooks: Webhooks) -> None:
    _told(webhooks)

    def slow(*_: object, **__: object) -> int:
        _set(webhooks, lease_owner="elsewhere:1:1", lease_token="theirs", lease_expires_at=time.time() + LEASE_S)
        return 500

    Courier(webhooks.engine, post=slow).deliver_due()
    (row,) = _rows(webhooks)
    assert (row.lease_token, row.attempts, row.state) == ("theirs", 0, "pending")


def test_a_clock_that_was_set_back_stops_nothing(webhooks: Webhooks) -> None:
    _told(webhooks)
    far = time.time() + 365 * 24 * 3600
    _set(webhooks, next_at=far, lease_owner="elsewhere:1:1", lease_token="theirs", lease_expires_at=far)
    assert Courier(webhooks.engine, post=Post()).deliver_due() == 1


def test_a_receiver_that_hangs_does_not_keep_the_others_waiting(webhooks: Webhooks) -> None:
    until, done = threading.Event(), []

    def post(url: str, *_: object, **__: object) -> int:
        if url.endswith("/slow"):
            until.wait(5)
        done.append(url)
        return 200

    _told(webhooks, url=URL + "/slow")
    _told(webhooks, jobs=5)
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(Courier(webhooks.engine, post=post).deliver_due)
        end = time.monotonic() + 5
        while len(done) < 5 and time.monotonic() < end:
            time.sleep(0.01)
        assert done == [URL] * 5
        until.set()
        assert working.result() == 10


def test_nothing_more_is_begun_when_it_must_end(webhooks: Webhooks) -> None:
    _told(webhooks, jobs=3)
    post = Post()
    assert Courier(webhooks.engine, post=post).deliver_due(may_go_on=lambda: False) == 0
    assert post.sent == []


def test_ended_deliveries_are_kept_for_a_month(webhooks: Webhooks) -> None:
    _told(webhooks, jobs=2)
    courier = Courier(webhooks.engine, post=Post())
    courier.deliver_due(1)
    assert courier.forget() == 0
    _set(webhooks, next_at=time.time() - at_work.KEPT_S - 1)
    assert courier.forget() == 1
    assert [row.state for row in _rows(webhooks)] == ["pending"]
