"""The HTTP door: predict, batches, scores, feedback, health, metrics, and one error shape with a request id on everything."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from luthier.api import create_app
from luthier.api.errors import STATUS
from luthier.core import errors
from luthier.stages.serve import engine
from luthier.store.database import connect
from luthier.store.journal import Journal

PREDICT = "/api/v1/endpoints/support/predict"
FEEDBACK = "/api/v1/endpoints/support/feedback"


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    return Journal(connect(f"sqlite:///{tmp_path_factory.mktemp('api') / 'journal.db'}"))


@pytest.fixture(scope="module")
def client(export_folder, journal):
    info = SimpleNamespace(name="support", task="text-classification", export_id="export-1", model_id="model-1", folder=export_folder)
    service = SimpleNamespace(endpoints=SimpleNamespace(list=lambda: [info]), journal=journal)
    app = create_app(service, workers=1, keep_text=True)
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


def _is_an_error(response, status: int) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["x-request-id"]
    assert set(response.json()) == {"error"}
    assert set(response.json()["error"]) == {"message", "type", "param", "code", "hint", "target", "details", "innererror"}
    return response.json()["error"]


def test_one_text_one_answer(client):
    response = client.post(PREDICT, json={"text": "where is my order"})
    assert response.status_code == 200
    answer = response.json()
    assert set(answer) == {"id", "label", "confidence", "abstained", "out_of_scope", "latency_ms"}
    assert 0 < answer["confidence"] <= 1
    assert client.post(PREDICT, json={"text": "where is my order"}).json()["id"] == answer["id"]


def test_batches_and_scores(client):
    response = client.post(PREDICT, json={"texts": ["refund please", "change my address"], "scores": True})
    first, second = response.json()["answers"]
    assert first["id"] != second["id"]
    assert list(first["scores"].values()) == sorted(first["scores"].values(), reverse=True)
    assert sum(first["scores"].values()) == pytest.approx(1, abs=1e-3)
    assert next(iter(first["scores"])) == first["label"]


def test_what_is_served_is_listed(client):
    listed = client.get("/api/v1/endpoints").json()["endpoints"]
    assert [one["name"] for one in listed] == ["support"]
    one = client.get("/api/v1/endpoints/support").json()
    assert one["export"] == "export-1"
    assert len(one["labels"]) > 5


def test_answers_and_judgements_are_journaled(client, journal):
    answer = client.post(PREDICT, json={"text": "my card 4111111111111111 was charged twice for ORD-12345"}).json()
    given = {"id": answer["id"], "thumbs": "down", "right": "payment_failed", "comment": "jane.doe@example.com is angry"}
    assert client.post(FEEDBACK, json=given).status_code == 202
    (kept,) = _journaled(journal, "prediction.answered", lambda body: body["id"] == answer["id"])
    assert kept["text"] == "my card <CARD_1> was charged twice for <ORDER_NUMBER_1>"
    assert kept["output"] == answer["label"]
    (judged,) = _journaled(journal, "feedback.given", lambda body: body["id"] == answer["id"])
    assert (judged["right"], judged["comment"]) == ("payment_failed", "<EMAIL_1> is angry")


def _journaled(journal, name, wanted):
    """The events of that name that are wanted, once there is one: the journal's writer is a little behind."""
    end = time.time() + 5
    while True:
        found = [one.body for one in journal.all(names=(name,)) if wanted(one.body)]
        if found or time.time() > end:
            return found
        time.sleep(0.05)


def test_a_wrong_judgement_is_refused_and_not_kept(client, journal):
    before = len(list(journal.all(names=("feedback.given",))))
    error = _is_an_error(client.post(FEEDBACK, json={"id": "1", "right": "payments_failed"}), 400)
    assert error["hint"].startswith("did you mean 'payment_failed'")
    _is_an_error(client.post(FEEDBACK, json={"id": "1", "right": "x" * 3000}), 400)
    _is_an_error(client.post(FEEDBACK, json={"id": "1", "comment": "x" * 3000}), 400)
    _is_an_error(client.post(FEEDBACK, json={"id": "1", "thumbs": "up", "who": "me"}), 400)
    _is_an_error(client.post(FEEDBACK, content=b'{"id": "1", "comment": "half a character \\ud83d"}'), 400)
    _is_an_error(client.post(FEEDBACK, content=b'{"id": "1", "comment": "' + b"a" * 8_000_001 + b'"}'), 413)
    assert "thumbs" in _is_an_error(client.post(FEEDBACK, content=b"{"), 400)["hint"]
    assert len(list(journal.all(names=("feedback.given",)))) == before


def test_feedback_is_described(client):
    described = client.get("/openapi.json").json()["paths"]["/api/v1/endpoints/{name}/feedback"]["post"]
    assert set(described["requestBody"]["content"]["application/json"]["schema"]["properties"]) == {"id", "thumbs", "right", "comment"}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b'{"text": ""}', b'{"text": 3}', b'{"texts": []}', b'{"text": "a", "scores": 1}', b"\xff", b"[" * 5000]
)
def test_a_wrong_body_is_refused_with_a_reason(client, body):
    error = _is_an_error(client.post(PREDICT, content=body), 400)
    assert error["code"] == "invalid_input"
    assert error["hint"]


def test_limits(client):
    _is_an_error(client.post(PREDICT, json={"texts": ["a"] * 257}), 400)
    _is_an_error(client.post(PREDICT, content=b'{"text": "' + b"a" * 8_000_001 + b'"}'), 413)
    assert client.post(PREDICT, json={"text": "a " * 100_000}).status_code == 200


def test_unknown_endpoints_are_named_with_the_nearest(client):
    error = _is_an_error(client.post("/api/v1/endpoints/suport/predict", json={"text": "a"}), 404)
    assert error["hint"] == "did you mean 'support'?"


def test_every_route_has_the_one_error_shape(client):
    _is_an_error(client.get("/nothing"), 404)
    checked = 0
    for route in _routes(client.app):
        path = route.path.replace("{name}", "support")
        wrong = next(method for method in ("PATCH", "DELETE", "PUT") if method not in route.methods)
        assert _is_an_error(client.request(wrong, path), 405)["code"] == "method_not_allowed"
        if "{name}" in route.path:
            method = "POST" if "POST" in route.methods else "GET"
            body = {"text": "a", "id": "1", "thumbs": "up"} if "predict" in path else {"id": "1", "thumbs": "up"}
            response = client.request(method, route.path.replace("{name}", "missing"), json=body)
            _is_an_error(response, 404)
        checked += 1
    assert checked >= 8
    _is_an_error(client.post("/api/v1/endpoints/support/feedback", json={"id": "1", "thumbs": "sideways"}), 400)
    _is_an_error(client.post("/api/v1/endpoints/support/feedback", json={"id": "1"}), 400)


def _routes(app) -> list[Route]:
    found: dict[str, SimpleNamespace] = {}
    for path, methods in app.openapi()["paths"].items():
        found[path] = SimpleNamespace(path=path, methods={method.upper() for method in methods})
    found["/openapi.json"] = SimpleNamespace(path="/openapi.json", methods={"GET"})
    return list(found.values())


def test_a_defect_says_nothing_of_the_message(client, monkeypatch):
    async def broken(self, examples):
        raise RuntimeError("secret text of a customer")

    monkeypatch.setattr(engine.Endpoint, "predict", broken)
    response = client.post(PREDICT, json={"text": "a"})
    assert _is_an_error(response, 500)["code"] == "internal"
    assert "secret" not in response.text


def test_a_graph_that_fails_is_journaled_without_the_message(client, journal, monkeypatch):
    def fail(batch):
        raise RuntimeError("secret text of a customer")

    endpoint = client.app.state.tenants.host().get("support").endpoint
    before = len(list(journal.all(names=("prediction.failed",))))
    monkeypatch.setattr(endpoint, "_session", SimpleNamespace(run=fail))
    _is_an_error(client.post(PREDICT, json={"text": "a"}), 500)
    end = time.time() + 5
    while time.time() < end and len(list(journal.all(names=("prediction.failed",)))) == before:
        time.sleep(0.05)
    last = journal.last(1, names=("prediction.failed",))[0].body
    assert (last["code"], last["message"]) == ("error", "RuntimeError")


def test_a_client_that_hangs_up_is_no_defect(client, caplog):
    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    sent: list = []
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http", "path": PREDICT}
    scope |= {"raw_path": PREDICT.encode(), "query_string": b"", "root_path": "", "headers": [], "client": ("a", 1), "server": ("b", 2)}
    asyncio.run(client.app(scope, receive, send))
    assert sent == []
    assert caplog.records == []
    page = client.get("/metrics").text
    route = 'route="/api/v1/endpoints/{name}/predict"'
    assert f'luthier_requests_total{{method="POST",{route},status="499"}} 1.0' in page
    assert 'code="499"' not in page


def test_overload_is_said_at_once(client, monkeypatch):
    async def full(self, examples):
        raise errors.Overloaded("too many wait", "try again")

    monkeypatch.setattr(engine.Endpoint, "predict", full)
    response = client.post(PREDICT, json={"text": "a"})
    assert _is_an_error(response, 503)["code"] == "overloaded"
    assert int(response.headers["retry-after"]) >= 1


def test_request_ids_are_kept_when_plain(client):
    assert client.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert client.get("/healthz", headers={"x-request-id": "a b\t" * 40}).headers["x-request-id"] != "a b\t" * 40


def test_health_readiness_and_metrics(client):
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {
        "ready": True,
        "checks": {"endpoints": {"ok": True, "why": "", "open": ["support"], "problems": {}}},
    }
    client.post(PREDICT, json={"text": "where is my parcel"})
    page = client.get("/metrics").text
    for name in ("luthier_requests_total", "luthier_request_seconds_bucket", "luthier_batch_examples", "luthier_confidence",
                 "luthier_abstained", "luthier_labels_total", "luthier_waiting_examples", "luthier_errors_total"):  # fmt: skip
        assert name in page
    assert 'route="/api/v1/endpoints/{name}/predict"' in page


def test_nothing_deployed_is_ready_and_what_cannot_be_opened_is_not(journal, tmp_path: Path):
    infos: list = []
    service = SimpleNamespace(endpoints=SimpleNamespace(list=lambda: infos), journal=journal)
    with TestClient(create_app(service)) as empty:
        assert empty.get("/readyz").status_code == 200
        infos.append(SimpleNamespace(name="broken", task="text-classification", export_id="1", model_id="1", folder=tmp_path / "nothing"))
        empty.app.state.tenants.host().refresh()
        said = empty.get("/readyz")
        assert (said.status_code, said.json()["ready"]) == (503, False)
        assert said.json()["checks"]["endpoints"]["why"] == "1 of what is deployed cannot be opened"
        assert "nothing" in said.json()["checks"]["endpoints"]["problems"]["broken"]


def test_every_error_class_has_a_status():
    named = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.LuthierError)]
    assert [one for one in named if one is not errors.LuthierError and not any(cls in STATUS for cls in one.__mro__)] == []


def test_the_server_writes_its_samples(export_folder, journal, tmp_path: Path):
    info = SimpleNamespace(name="support", task="text-classification", export_id="export-1", model_id="model-1", folder=export_folder)
    service = SimpleNamespace(endpoints=SimpleNamespace(list=lambda: [info]), journal=journal)
    with TestClient(create_app(service, workers=1, samples=tmp_path)) as one:
        one.post(PREDICT, json={"text": "hello"})
    assert (tmp_path / "support.npz").exists()
