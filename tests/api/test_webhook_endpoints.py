"""Webhooks by the unmodified OpenAI client, at every address that it or Azure's asks; deliveries and their repetition by ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from starlette.testclient import TestClient

from luthier.api import create_app
from luthier.app.courier import Courier
from luthier.app.service import Service
from luthier.app.webhooks import SENT

SUCCEEDED, FAILED = "fine_tuning.job.succeeded", "fine_tuning.job.failed"
URL = "https://93.184.216.34/hook"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return Service(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def http(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service, workers=1), raise_server_exceptions=False) as opened:
        yield opened


def _client(http: TestClient, prefix: str = "/v1") -> OpenAI:
    return OpenAI(api_key="none", base_url=f"http://testserver{prefix}", http_client=http, max_retries=0)


@pytest.fixture
def client(http: TestClient) -> OpenAI:
    return _client(http)


@pytest.mark.parametrize("prefix", ["/v1", "/openai/v1", "/openai", "/openai/v1/dashboard"])
def test_the_whole_life_by_the_client(http: TestClient, prefix: str) -> None:
    hooks = _client(http, prefix).webhooks
    made = hooks.create(name="ours", url=URL, event_types=[SUCCEEDED, FAILED])
    assert made.object == "webhook_endpoint"
    assert made.signing_secret.startswith("whsec_")
    assert made.signing_secret_hint == "whsec_..." + made.signing_secret[-5:]
    found = hooks.retrieve(made.id)
    assert (found.name, found.url, found.event_types, found.status) == ("ours", URL, [SUCCEEDED, FAILED], "enabled")
    assert "signing_secret" not in found.model_extra, "the secret is shown once"
    changed = hooks.update(made.id, name="theirs", event_types=["batch.completed"])
    assert (changed.name, changed.url, changed.event_types) == ("theirs", URL, ["batch.completed"])
    assert hooks.rotate_secret(made.id).signing_secret != made.signing_secret
    assert hooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True).id == made.id
    deleted = hooks.delete(made.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "webhook_endpoint.deleted")
    with pytest.raises(openai.NotFoundError):
        hooks.retrieve(made.id)


def test_the_clients_pages_end(client: OpenAI) -> None:
    ids = [client.webhooks.create(name=str(number), url=URL, event_types=[FAILED]).id for number in range(5)]
    page = client.webhooks.list(limit=2)
    assert page.has_more
    assert [one.id for one in client.webhooks.list(limit=2)] == ids[::-1]
    assert client.webhooks.event_types.list().data == list(SENT)
    assert {SUCCEEDED, FAILED, "batch.completed"} < set(SENT)
    for identity in ids:
        client.webhooks.delete(identity)
    assert client.webhooks.list().data == []


def test_a_trial_reaches_the_receiver(client: OpenAI, receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_WEBHOOK_PRIVATE", "1")
    made = client.webhooks.create(name="here", url=receiver.url, event_types=[FAILED])
    receiver.answers = [204, 500]
    result = client.webhooks.test(made.id, event_type=FAILED)
    assert (result.status_code, result.success, result.webhook_endpoint_id) == (204, True, made.id)
    assert client.webhooks.test(made.id, event_type=FAILED).status_code == 500
    sent = receiver.requests[0]
    event = client.webhooks.unwrap(sent.body, sent.headers, secret=made.signing_secret)
    assert event.type == FAILED
    receiver.close()
    with pytest.raises(openai.BadRequestError, match="gave no answer"):
        client.webhooks.test(made.id, event_type=FAILED)
    monkeypatch.delenv("LUTHIER_WEBHOOK_PRIVATE")
    with pytest.raises(openai.BadRequestError, match="not a public address"):
        client.webhooks.test(made.id, event_type=FAILED)
    client.webhooks.delete(made.id)


def test_deliveries_are_looked_at_and_repeated(client: OpenAI, http: TestClient, service: Service) -> None:
    made = client.webhooks.create(name="x", url=URL, event_types=[SUCCEEDED])
    service.webhooks.notify(SUCCEEDED, {"id": "ftjob-1"})
    own = f"/api/v1/webhooks/{made.id}"
    (delivery,) = http.get(f"{own}/deliveries").json()["data"]
    assert (delivery["state"], delivery["attempts"], delivery["finished_at"]) == ("pending", 0, None)
    assert delivery["event"]["data"] == {"id": "ftjob-1"}
    again = f"{own}/deliveries/{delivery['id']}/replay"
    assert http.post(again).status_code == 409
    courier = Courier(service.workspace.engine(), post=lambda *_, **__: 410)
    courier.deliver_due()
    (delivery,) = http.get(f"{own}/deliveries").json()["data"]
    assert (delivery["state"], delivery["attempts"], delivery["next_at"]) == ("failed", 1, None)
    assert client.webhooks.retrieve(made.id).status == "disabled"
    assert http.post(again).status_code == 409
    assert http.post(f"{own}/enable").json()["status"] == "enabled"
    assert http.post(again).json()["state"] == "pending"
    Courier(service.workspace.engine(), post=lambda *_, **__: 200).deliver_due()
    assert http.get(f"{own}/deliveries").json()["data"][0]["state"] == "delivered"
    client.webhooks.delete(made.id)
    assert http.get(f"{own}/deliveries").status_code == 404


GOOD: dict[str, Any] = {"name": "x", "url": URL, "event_types": [FAILED]}


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""}, {"name": "a" * 300}, {"name": "nul\0"}, {"name": 7}, {"name": None}, {"url": "http://127.0.0.1/"}, {"url": "x"},
        {"url": "https://" + "a" * 3000}, {"url": ["x"]}, {"event_types": []}, {"event_types": ["x"]}, {"event_types": "x"},
        {"event_types": [FAILED] * 1000}, {"event_types": [None]}, {"more": 1},
    ],
    ids=ascii,
)  # fmt: skip
def test_what_is_wrong_is_refused_in_one_shape(http: TestClient, change: dict[str, Any]) -> None:
    response = http.post("/v1/webhook_endpoints", json=GOOD | change)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"[]", b"null", b"\xff", b'{"name": "\\ud800", "url": "https://1.1.1.1", "event_types": ["batch.failed"]}', b"[" * 9999],
)
def test_what_is_no_request_is_refused(http: TestClient, body: bytes) -> None:
    response = http.post("/v1/webhook_endpoints", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=1e400", "after=" + "a" * 200])
def test_pages_that_cannot_be(http: TestClient, query: str) -> None:
    assert http.get(f"/v1/webhook_endpoints?{query}").status_code == 400


@pytest.mark.parametrize("identity", ["wh_0", "%00", "wh_" + "0" * 24, "%ED%A0%80", "x" * 3000])
def test_unknown_ids(http: TestClient, identity: str) -> None:
    for method, address in (
        ("GET", f"/v1/webhook_endpoints/{identity}"),
        ("DELETE", f"/v1/webhook_endpoints/{identity}"),
        ("POST", f"/v1/webhook_endpoints/{identity}/rotate_secret"),
        ("GET", f"/api/v1/webhooks/{identity}/deliveries"),
        ("POST", f"/api/v1/webhooks/{identity}/enable"),
        ("POST", f"/api/v1/webhooks/{identity}/deliveries/{identity}/replay"),
        ("GET", f"/v1/webhook_endpoints?after={identity[:99]}"),
    ):
        assert http.request(method, address).status_code == 404, address
