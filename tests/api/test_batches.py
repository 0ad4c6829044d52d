"""Batches by OpenAI's own client: whole, with refused lines, cancelled, and taken over from a server that was killed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from openai import APIStatusError, NotFoundError, OpenAI
from openai.types import Batch
from sqlalchemy import update

from luthier.app.batch_lines import lines
from luthier.app.batch_parts import LINES_A_PART, Answered, Parts
from luthier.core.batch import BatchRequest
from luthier.store.tables import BATCHES

ENDED = ("completed", "failed", "cancelled", "expired")
CHAT = "/v1/chat/completions"


def chat(number: int, model: str = "support", **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"where is parcel {number}"}]
    return {"custom_id": f"r{number}", "method": "POST", "url": CHAT, "body": {"model": model, "messages": messages} | more}


def written(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def begun(client: OpenAI, rows: list[dict[str, Any]], endpoint: Any = CHAT, **more: Any) -> Batch:
    file = client.files.create(file=("asked.jsonl", written(rows)), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more)


def ended(client: OpenAI, batch: Batch) -> Batch:
    until = time.monotonic() + 30
    while batch.status not in ENDED:
        assert time.monotonic() < until, batch
        time.sleep(0.05)
        batch = client.batches.retrieve(batch.id)
    return batch


def content(client: OpenAI, file: str | None) -> list[dict[str, Any]]:
    return [json.loads(row) for row in client.files.content(file).text.splitlines()] if file else []


@pytest.fixture(scope="module")
def client(live: Any) -> OpenAI:
    found: OpenAI = live.openai()
    while not any(one.name == "support" for one in live.service.endpoints.list()):
        live.service.deployments.work("support")
    return found


def test_every_line_has_its_answer(client: OpenAI, live: Any) -> None:
    hook = live.service.webhooks.create("ends", "https://93.184.216.34/", ["batch.completed"]).id
    rows = [chat(number) for number in range(LINES_A_PART + 6)]
    batch = ended(client, begun(client, rows, metadata={"team": "blue"}))
    assert (batch.status, batch.errors, batch.error_file_id, batch.metadata) == ("completed", None, None, {"team": "blue"})
    assert batch.request_counts
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (len(rows), len(rows), 0)
    assert batch.created_at <= (batch.in_progress_at or 0) <= (batch.finalizing_at or 0) <= (batch.completed_at or 0)
    found = content(client, batch.output_file_id)
    assert [one["custom_id"] for one in found] == [one["custom_id"] for one in rows]
    alone = client.chat.completions.create(model="support", messages=rows[3]["body"]["messages"]).choices[0].message.content
    body = found[3]["response"]["body"]
    assert (found[3]["response"]["status_code"], body["object"], body["choices"][0]["message"]["content"]) == (
        200,
        "chat.completion",
        alone,
    )
    assert client.files.retrieve(str(batch.output_file_id)).purpose == "batch_output"
    assert batch.id in [one.id for one in client.batches.list(limit=100)]
    told = live.service.webhooks.deliveries(hook)[0]
    assert [(one.event["type"], one.event["data"]) for one in told] == [("batch.completed", {"id": batch.id})]
    live.service.webhooks.delete(hook)


@pytest.mark.parametrize(
    ("endpoint", "body", "kind"),
    [
        ("/v1/completions", {"model": "support", "prompt": ["a parcel", "my money"]}, "text_completion"),
        ("/v1/embeddings", {"model": "support", "input": "a parcel"}, "list"),
    ],
)
def test_all_that_is_served_can_be_asked(client: OpenAI, endpoint: str, body: dict[str, Any], kind: str) -> None:
    batch = ended(client, begun(client, [{"custom_id": "a", "method": "POST", "url": endpoint, "body": body}], endpoint))
    (one,) = content(client, batch.output_file_id)
    assert one["response"]["body"]["object"] == kind


def test_azures_client_leaves_the_version_away(live: Any, client: OpenAI) -> None:
    file = client.files.create(file=("asked.jsonl", written([chat(1) | {"url": "/chat/completions"}])), purpose="batch")
    azure = live.azure()
    batch = azure.batches.create(input_file_id=file.id, endpoint="/chat/completions", completion_window="24h")
    assert ended(azure, batch).status == "completed"


def test_a_line_that_is_refused_is_in_the_error_file_and_the_others_are_answered(client: OpenAI) -> None:
    rows = [chat(1), chat(2, model="suport"), chat(3, temperature=9), chat(4, nonsense=1)]
    batch = ended(client, begun(client, rows))
    assert batch.status == "completed"
    assert batch.request_counts
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 3)
    bad = content(client, batch.error_file_id)
    assert [(one["custom_id"], one["response"]["status_code"]) for one in bad] == [("r2", 404), ("r3", 400), ("r4", 400)]
    assert "unknown" in bad[0]["response"]["body"]["error"]["message"]
    assert bad[1]["response"]["body"]["error"]["param"] == "temperature"


def test_a_file_with_a_wrong_line_fails_before_anything_is_asked(client: OpenAI) -> None:
    batch = ended(client, begun(client, [chat(1), chat(1)]))
    assert (batch.status, batch.output_file_id) == ("failed", None)
    assert batch.errors
    assert batch.errors.data
    assert (batch.errors.data[0].line, batch.errors.data[0].param) == (2, "custom_id")


def test_what_is_wrong_with_the_call_is_said_at_once(client: OpenAI, live: Any) -> None:
    file = client.files.create(file=("x.jsonl", written([chat(1)])), purpose="batch").id
    for wrong in ({"endpoint": "/v1/responses"}, {"completion_window": "1h"}, {"input_file_id": "file-" + "0" * 24}):
        with pytest.raises(APIStatusError, match="Error code: 40"):
            client.batches.create(**{"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"} | wrong)  # type: ignore[call-overload]
    with pytest.raises(NotFoundError):
        client.batches.retrieve("batch_none")


def test_a_batch_that_waits_for_its_model_can_be_cancelled(client: OpenAI, live: Any) -> None:
    rows = [chat(1), *(chat(number, model=live.step) for number in range(2, 20))]  # a checkpoint without an export, and no worker here
    batch = begun(client, rows)
    while client.batches.retrieve(batch.id).status == "validating":
        time.sleep(0.05)
    time.sleep(0.3)
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = ended(client, batch)
    assert batch.status == "cancelled"
    assert batch.cancelled_at
    assert [one["custom_id"] for one in content(client, batch.output_file_id)] == ["r1"]
    left = content(client, batch.error_file_id)
    assert len(left) == 18
    assert {one["error"]["code"] for one in left} == {"batch_cancelled"}


def test_a_batch_whose_time_is_over_keeps_what_was_answered(client: OpenAI, live: Any) -> None:
    batch = begun(client, [chat(1), chat(2, model=live.step)])
    while client.batches.retrieve(batch.id).status == "validating":
        time.sleep(0.05)
    made = _row(live, batch.id)
    assert made["state"] == "in_progress"
    _killed(live, batch.id, expires_at=time.time() + 1)
    batch = ended(client, batch)
    assert batch.status == "expired"
    assert content(client, batch.error_file_id)[-1]["error"]["code"] == "batch_expired"


def test_another_server_goes_on_where_a_killed_one_was(client: OpenAI, live: Any) -> None:
    service, rows = live.service, [chat(number) for number in range(LINES_A_PART + 10)]
    file = service.files.create("asked.jsonl", "batch", [written(rows)])
    request = BatchRequest(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    with _held():
        batch = service.batches.create(request, service.files)["id"]
        first = list(lines(service.files.path(file.id), CHAT))[:LINES_A_PART]
        Parts(service.workspace.work, batch).add([Answered(line, 200, {"by": "the one that was killed"}) for line in first])
        _killed(live, batch, state="in_progress", counts={"total": len(rows)})
    found = content(client, ended(client, client.batches.retrieve(batch)).output_file_id)
    assert [one["custom_id"] for one in found] == [row["custom_id"] for row in rows]
    assert sum(one["response"]["body"].get("by") == "the one that was killed" for one in found) == LINES_A_PART
    assert not (service.workspace.work / "batches" / batch).exists()


def _row(live: Any, batch: str) -> dict[str, Any]:
    found: dict[str, Any] = live.service.batches.row(batch)
    return found


@contextmanager
def _held() -> Iterator[None]:
    """No server looks meanwhile."""
    looked = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("luthier.app.batches.Batches.claim_next", lambda *_given: looked.set())
        assert looked.wait(20)  # it looks for one after the other: what it looked for before is over
        yield


def _killed(live: Any, batch: str, **values: Any) -> None:
    """As a killed server leaves it: leased to a process that is gone."""
    code = "from luthier.app.leases import owner; print(owner())"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    lease = {"lease_owner": dead, "lease_token": "killed", "lease_expires_at": time.time() + 1000}
    with live.service.workspace.engine().begin() as connection:
        connection.execute(update(BATCHES).where(BATCHES.c.id == batch).values(**lease, **values))
