"""Webhooks of a workspace: made, changed, rotated, and told once what happened; on SQLite and on PostgreSQL."""

from __future__ import annotations

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from openai.types.webhooks.webhook_create_params import WebhookCreateParams
from sqlalchemy import insert, select

from luthier.app import webhooks as told
from luthier.app.posting import Silent
from luthier.app.webhooks import KNOWN, SENT, Webhooks, signing
from luthier.core.errors import Conflict, InputError, QuotaExceeded, UnknownName
from luthier.store.tables import DELIVERIES, WEBHOOKS, WORKSPACES
from luthier.store.workspace import Workspace

SUCCEEDED, FAILED = "fine_tuning.job.succeeded", "fine_tuning.job.failed"
URL = "https://example.com/hook"


def _public(host: str, port: int) -> list[str]:
    return ["93.184.216.34"]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a database for all tests of this file."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres").database())
    return f"sqlite:///{tmp_path_factory.mktemp('webhooks') / 'luthier.db'}"


@pytest.fixture
def webhooks(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Webhooks:
    """An empty workspace's."""
    monkeypatch.setenv("LUTHIER_DATABASE", database)
    made = Webhooks(Workspace(tmp_path), resolver=_public)
    with made.engine.begin() as connection:
        for table in (DELIVERIES, WEBHOOKS, WORKSPACES):
            connection.execute(table.delete())
    return made


def _rows(webhooks: Webhooks) -> list:
    with webhooks.engine.connect() as connection:
        return list(connection.execute(select(DELIVERIES).order_by(DELIVERIES.c.created_at)).all())


def test_made_changed_listed_and_deleted(webhooks: Webhooks) -> None:
    made = webhooks.create("ours", URL, [SUCCEEDED, FAILED, SUCCEEDED])
    assert made.id.startswith("wh_")
    assert made.events == [SUCCEEDED, FAILED]
    assert len(base64.b64decode(made.secret.removeprefix("whsec_"), validate=True)) == 32
    same = webhooks.update(made.id, name="ours", url=URL)
    assert same.updated_at == made.updated_at, "nothing was changed"
    changed = webhooks.update(made.id, url=URL + "/2", event_types=[FAILED])
    assert (changed.name, changed.url, changed.events) == ("ours", URL + "/2", [FAILED])
    assert changed.updated_at > made.updated_at
    assert changed.secret == made.secret
    webhooks.delete(made.id)
    for action in (webhooks.get, webhooks.delete, webhooks.rotate_secret, webhooks.update, webhooks.deliveries):
        with pytest.raises(UnknownName):
            action(made.id)


def test_pages_are_newest_first_and_end(webhooks: Webhooks) -> None:
    ids = [webhooks.create(str(number), URL, SENT).id for number in range(5)][::-1]
    first, more = webhooks.list(limit=2)
    assert ([row.id for row in first], more) == (ids[:2], True)
    rest, more = webhooks.list(limit=3, after=ids[1])
    assert ([row.id for row in rest], more) == (ids[2:], False)
    assert webhooks.list(after=ids[-1]) == ([], False)
    with pytest.raises(UnknownName):
        webhooks.list(after="wh_" + "0" * 24)


def test_another_workspace_sees_nothing(webhooks: Webhooks, tmp_path: Path) -> None:
    made = webhooks.create("ours", URL, SENT)
    webhooks.notify(SUCCEEDED, {"id": "ftjob-1"})
    delivery = webhooks.deliveries(made.id)[0][0].id
    other = Webhooks(Workspace(tmp_path, "other"), resolver=_public)
    assert other.list() == ([], False)
    other.notify(SUCCEEDED, {"id": "ftjob-2"})
    assert len(_rows(webhooks)) == 1
    for action in (other.get, other.delete, other.rotate_secret, other.update, other.enable, other.deliveries):
        with pytest.raises(UnknownName):
            action(made.id)
    with pytest.raises(UnknownName):
        other.replay(made.id, delivery)
    theirs = other.create("theirs", URL, SENT)
    with pytest.raises(UnknownName):
        other.replay(theirs.id, delivery)


def test_ids_that_cannot_be_are_unknown(webhooks: Webhooks) -> None:
    for identity in ("", "wh_1", "x\0y", "\ud800", "wh_" + "A" * 24, "9" * 5000, "'; drop table webhooks --"):
        with pytest.raises(UnknownName):
            webhooks.get(identity)


def test_what_cannot_be_told_or_reached_is_refused(webhooks: Webhooks) -> None:
    for types in ([], ["fine_tuning.job.exploded"], ["\0"]):
        with pytest.raises(InputError, match="event_types"):
            webhooks.create("x", URL, types)
    for url in ("http://127.0.0.1/", "ftp://example.com/", "http://user:pass@example.com/"):
        with pytest.raises(InputError, match="url"):
            webhooks.create("x", url, SENT)
    made = webhooks.create("x", URL, SENT)
    with pytest.raises(InputError, match="url"):
        webhooks.update(made.id, url="http://[::1]/")
    assert webhooks.get(made.id).url == URL


def test_private_addresses_by_the_workspaces_setting_or_the_servers(webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch) -> None:
    private = "http://10.0.0.7/hook"
    with webhooks.engine.begin() as connection:
        connection.execute(insert(WORKSPACES), {"name": "default", "settings": {"webhook_private": "yes"}})
    with pytest.raises(InputError):
        webhooks.create("x", private, SENT)
    with webhooks.engine.begin() as connection:
        connection.execute(WORKSPACES.update().values(settings={"webhook_private": True}))
    plain = Webhooks(webhooks.workspace, resolver=lambda host, port: [host])
    plain.create("x", private, SENT)
    with webhooks.engine.begin() as connection:
        connection.execute(WORKSPACES.delete())
    with pytest.raises(InputError):
        plain.create("x", private, SENT)
    monkeypatch.setenv("LUTHIER_WEBHOOK_PRIVATE", "1")
    plain.create("x", private, SENT)


def test_there_is_a_most(webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "MOST", 2)
    for _ in range(2):
        webhooks.create("x", URL, SENT)
    with pytest.raises(QuotaExceeded):
        webhooks.create("x", URL, SENT)


def test_rotation_ends_the_old_secret_now_or_in_a_day(webhooks: Webhooks) -> None:
    made = webhooks.create("x", URL, SENT)
    now = time.time()
    kept = webhooks.rotate_secret(made.id, keep_old=True)
    assert signing(kept, now) == [kept.secret, made.secret]
    assert kept.secret != made.secret
    assert signing(kept, now + 25 * 3600) == [kept.secret]
    assert signing(kept, now - 50 * 3600) == [kept.secret], "a clock that was set back does not make it live for ever"
    ended = webhooks.rotate_secret(made.id)
    assert signing(ended, time.time()) == [ended.secret]


def test_each_webhook_that_wants_it_is_told_once(webhooks: Webhooks) -> None:
    both = webhooks.create("both", URL, [SUCCEEDED, FAILED])
    webhooks.create("failed only", URL, [FAILED])
    disabled = webhooks.create("disabled", URL, SENT)
    webhooks._change(disabled.id, {"state": "disabled"})
    for _ in range(3):
        webhooks.notify(SUCCEEDED, {"id": "ftjob-1"})
    (row,) = _rows(webhooks)
    assert (row.webhook, row.state, row.attempts) == (both.id, "pending", 0)
    assert row.event | {"created_at": 0} == {
        "id": row.event["id"], "object": "event", "type": SUCCEEDED, "created_at": 0, "data": {"id": "ftjob-1"},
    }  # fmt: skip
    assert row.event["id"].startswith("evt_")
    webhooks.notify(SUCCEEDED, {"id": "ftjob-2"})
    webhooks.notify(FAILED, {"id": "ftjob-1"})
    rows = _rows(webhooks)
    assert len(rows) == 4
    assert len({one.event["id"] for one in rows}) == 3, "the two that hear of one failure hear of the same event"
    webhooks.notify("nobody.wants", {"id": "1"})
    assert len(_rows(webhooks)) == 4


def test_many_who_tell_the_same_tell_it_once(webhooks: Webhooks) -> None:
    webhooks.create("x", URL, SENT)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: webhooks.notify(SUCCEEDED, {"id": f"ftjob-{number % 3}"}), range(24)))
    assert len(_rows(webhooks)) == 3


def test_told_within_a_transaction_it_happens_with_it(webhooks: Webhooks) -> None:
    webhooks.create("x", URL, SENT)
    with webhooks.engine.begin() as connection:
        webhooks.notify(SUCCEEDED, {"id": "ftjob-1"}, connection)
        connection.rollback()
    assert _rows(webhooks) == []
    with webhooks.engine.begin() as connection:
        webhooks.notify(SUCCEEDED, {"id": "ftjob-1"}, connection)
    assert len(_rows(webhooks)) == 1


def test_a_deleted_webhooks_deliveries_go_with_it(webhooks: Webhooks) -> None:
    made = webhooks.create("x", URL, SENT)
    webhooks.create("y", URL, SENT)
    webhooks.notify(SUCCEEDED, {"id": "ftjob-1"})
    webhooks.delete(made.id)
    assert len(_rows(webhooks)) == 1


def test_deliveries_are_listed_and_replayed(webhooks: Webhooks) -> None:
    made = webhooks.create("x", URL, SENT)
    for number in range(3):
        webhooks.notify(SUCCEEDED, {"id": f"ftjob-{number}"})
    page, more = webhooks.deliveries(made.id, limit=2)
    assert [row.event["data"]["id"] for row in page] == ["ftjob-2", "ftjob-1"]
    assert more
    rest, more = webhooks.deliveries(made.id, after=page[-1].id)
    assert [row.event["data"]["id"] for row in rest] == ["ftjob-0"]
    assert not more
    one = page[0].id
    with pytest.raises(Conflict, match="is being delivered"):
        webhooks.replay(made.id, one)
    with webhooks.engine.begin() as connection:
        connection.execute(DELIVERIES.update().values(state="failed", attempts=7, last_error="x"))
    again = webhooks.replay(made.id, one)
    assert (again.state, again.attempts, again.last_error) == ("pending", 0, "")
    webhooks._change(made.id, {"state": "disabled"})
    with pytest.raises(Conflict, match="disabled"):
        webhooks.replay(made.id, page[1].id)
    assert webhooks.enable(made.id).state == "enabled"
    assert webhooks.replay(made.id, page[1].id).state == "pending"


def test_a_new_address_enables_a_disabled_webhook(webhooks: Webhooks) -> None:
    made = webhooks.create("x", URL, SENT)
    webhooks._change(made.id, {"state": "disabled"})
    assert webhooks.update(made.id, name="y").state == "disabled"
    assert webhooks.update(made.id, url=URL).state == "enabled"


def test_a_trial_says_the_receivers_status(webhooks: Webhooks) -> None:
    made, sent = webhooks.create("x", URL, SENT), []

    def post(url: str, event: dict, secrets: list[str], **_: object) -> int:
        sent.append((url, event["type"], secrets))
        return 418

    assert webhooks.test(made.id, FAILED, post) == 418
    assert sent == [(URL, FAILED, [made.secret])]
    assert _rows(webhooks) == []

    def silent(*_: object, **__: object) -> int:
        raise Silent("nobody there")

    with pytest.raises(InputError, match="gave no answer: nobody there"):
        webhooks.test(made.id, FAILED, silent)
    with pytest.raises(InputError, match="event_types"):
        webhooks.test(made.id, "x", post)


def test_every_type_that_the_client_can_ask_for_is_known() -> None:
    literal = get_args(get_args(get_type_hints(WebhookCreateParams, include_extras=False)["event_types"])[0])
    assert set(literal) == set(KNOWN)
    assert set(SENT) <= set(KNOWN)
