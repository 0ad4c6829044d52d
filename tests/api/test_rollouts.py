"""Versions over HTTP: traffic, the header that picks one, users who stay with theirs, mirrors, and what is refused."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from luthier.api import create_app
from luthier.app.service import Service
from versions import export

SAYS = {"v1": "parcel", "v2": "refund"}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Any]:
    """A client of a server whose endpoint ``support`` has v1; ``new`` is the export for v2."""
    service = Service(tmp_path / "home")
    service.deploy(export(service, "parcel"), "support")
    new = export(service, "refund")
    with TestClient(create_app(service, workers=1), raise_server_exceptions=False) as client:
        client.service, client.new = service, new.id  # type: ignore[attr-defined]
        client.host = client.app.state.tenants.host()  # type: ignore[attr-defined]
        yield client


def start(desk: Any, **wish: Any) -> dict[str, Any]:
    answer = desk.post("/api/v1/rollouts", json={"endpoint": "support", "model": desk.new} | wish)
    assert answer.status_code == 201, answer.text
    desk.host.refresh()
    found: dict[str, Any] = answer.json()
    return found


def share(desk: Any, **table: int) -> Any:
    answer = desk.put("/api/v1/rollouts/support/traffic", json={"traffic": table})
    desk.host.refresh()
    return answer


def ask(desk: Any, user: str = "", version: str = "", text: str = "hello there") -> tuple[str, str]:
    """The version that answered, and its answer."""
    headers = {"X-Luthier-Deployment": version} if version else {}
    answer = desk.post("/api/v1/endpoints/support/predict", json={"text": text} | ({"user": user} if user else {}), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-luthier-deployment"], answer.json()["label"]


def test_traffic_is_shared_and_users_stay_with_their_version(desk: Any) -> None:
    start(desk)
    assert share(desk, v1=70, v2=30).json()["traffic"] == {"v1": 70, "v2": 30}
    first = {f"user-{n}": ask(desk, f"user-{n}") for n in range(100)}
    assert all(SAYS[version] == label for version, label in first.values())
    assert 15 <= Counter(version for version, _ in first.values())["v2"] <= 45
    assert first == {user: ask(desk, user) for user in first}
    assert len({ask(desk)[0] for _ in range(40)}) == 2
    share(desk, v1=30, v2=70)
    assert all(ask(desk, user)[0] == "v2" for user, (version, _) in first.items() if version == "v2")


def test_the_header_picks_a_version_without_traffic(desk: Any) -> None:
    assert start(desk)["traffic"] == {"v1": 100}
    assert {ask(desk)[0] for _ in range(10)} == {"v1"}
    assert ask(desk, version="v2") == ("v2", "refund")
    wrong = desk.post("/api/v1/endpoints/support/predict", json={"text": "x"}, headers={"X-Luthier-Deployment": "v3"})
    assert (wrong.status_code, wrong.json()["error"]["hint"]) == (404, "did you mean 'v2' or 'v1'?")


def test_chats_follow_the_table_too(desk: Any) -> None:
    start(desk)
    body = {"model": "support", "user": "ann", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"X-Luthier-Deployment": "v2"}
    picked = desk.post("/v1/chat/completions", json=body, headers=headers)
    assert (picked.headers["x-luthier-deployment"], picked.json()["choices"][0]["message"]["content"]) == ("v2", "refund")
    share(desk, v1=50, v2=50)
    (version,) = {desk.post("/v1/chat/completions", json=body).headers["x-luthier-deployment"] for _ in range(10)}
    assert {ask(desk, "ann")[0] for _ in range(5)} == {version}


def test_shares_that_do_not_sum_to_100_are_refused_with_the_sum(desk: Any) -> None:
    start(desk)
    answer = share(desk, v1=60, v2=30)
    assert (answer.status_code, "sum to 90, not 100" in answer.json()["error"]["message"]) == (400, True)


def test_a_version_with_traffic_is_409_and_an_endpoint_in_a_rollout_too(desk: Any) -> None:
    start(desk, canary=[20, 100])
    refused = desk.delete("/api/v1/rollouts/support/versions/v2")
    assert (refused.status_code, "holds 20 % of the traffic" in refused.json()["error"]["message"]) == (409, True)
    assert desk.delete("/api/v1/deployments/support").status_code == 409
    assert desk.post("/api/v1/rollouts/support/abort").json()["traffic"] == {"v1": 100}
    desk.host.refresh()
    assert len(desk.host._shared["support"].every()) == 1, "the candidate is closed"
    assert desk.post("/api/v1/rollouts/support/promote").status_code == 409
    assert desk.delete("/api/v1/rollouts/support/versions/v2").status_code == 200


def test_mirrored_answers_are_compared_and_not_returned(desk: Any) -> None:
    start(desk, mirror=100)
    assert {ask(desk, text=f"text {n}") for n in range(20)} == {("v1", "parcel")}
    end = time.monotonic() + 10
    while time.monotonic() < end and desk.service.watch("support").mirrored.get("v2", {}).get("answers") != 20:
        time.sleep(0.05)
    said = desk.get("/api/v1/monitors/support").json()
    assert said["mirrored"] == {"v2": {"answers": 20, "same": 0, "failed": 0, "agreement": 0.0}}
    assert said["answers"] == 20, "copies are no answers"


def test_a_promotion_closes_the_old_version_only_after_its_answers(desk: Any) -> None:
    start(desk, canary=[50, 100])
    old = desk.host.get("support")
    assert desk.post("/api/v1/rollouts/support/promote").json()["rollout"]["state"] == "promoted"
    desk.host.refresh()
    assert desk.host.get("support").version == "v2"
    assert old.endpoint._encoding.closed
    assert ask(desk) == ("v2", "refund")
    assert desk.post("/api/v1/rollouts/support/back").json()["traffic"] == {"v1": 100}
    desk.host.refresh()
    assert ask(desk) == ("v1", "parcel")
