"""Batches as rows, lines and parts: who may take one, what is wrong with a file, and what a killed server leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from luthier.app import leases
from luthier.app.batch_lines import Line, check, lines
from luthier.app.batch_parts import Answered, Parts
from luthier.app.batches import Batches
from luthier.app.service import Service
from luthier.core import batch as states
from luthier.core.batch import BatchRequest, may_move
from luthier.core.errors import Conflict, SpecError, UnknownName
from luthier.store import processes
from luthier.store.tables import BATCHES

URL = "/v1/completions"


def line(number: int, **changed: Any) -> str:
    return json.dumps({"custom_id": f"r{number}", "method": "POST", "url": URL, "body": {"model": "m", "prompt": "a"}} | changed)


def uploaded(service: Service, count: int = 3, purpose: str = "batch") -> str:
    data = "\n".join(line(number) for number in range(count)).encode()
    return service.files.create("asked.jsonl", purpose, [data]).id


def asked(file: str, **more: Any) -> BatchRequest:
    return BatchRequest.model_validate({"input_file_id": file, "endpoint": URL, "completion_window": "24h"} | more)


def test_a_batch_is_created_listed_and_cancelled(service: Service) -> None:
    batches, file = service.batches, uploaded(service)
    first = batches.create(asked(file, metadata={"team": "blue"}), service.files)
    assert (first["object"], first["status"], first["metadata"]) == ("batch", "validating", {"team": "blue"})
    assert first["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert first["expires_at"] - first["created_at"] == 24 * 3600
    second = batches.create(asked(file), service.files)
    assert [one["id"] for one in batches.list()["data"]] == [second["id"], first["id"]]
    assert batches.list(1)["has_more"]
    assert [one["id"] for one in batches.list(1, second["id"])["data"]] == [first["id"]]
    assert batches.cancel(first["id"])["status"] == "cancelling"
    assert batches.cancel(first["id"])["cancelling_at"]
    with pytest.raises(UnknownName):
        batches.get("batch_none")


def test_a_repeated_post_is_the_same_batch_and_a_new_one_is_not(service: Service) -> None:
    file = uploaded(service)
    first = service.batches.create(asked(file), service.files)
    assert service.batches.create(asked(file), service.files, repeated=True)["id"] == first["id"]
    assert service.batches.create(asked(file), service.files)["id"] != first["id"]
    assert service.batches.create(asked(file, metadata={"a": "b"}), service.files, repeated=True)["id"] != first["id"]


def test_only_a_file_for_batches_is_taken_and_it_stays_while_it_is_needed(service: Service) -> None:
    with pytest.raises(SpecError, match="has the purpose 'evals'"):
        service.batches.create(asked(uploaded(service, purpose="evals")), service.files)
    with pytest.raises(UnknownName):
        service.batches.create(asked("file-" + "0" * 24), service.files)
    file = uploaded(service)
    made = service.batches.create(asked(file), service.files)["id"]
    with pytest.raises(Conflict, match=made):
        service.files.delete(file)
    row, token = service.batches.claim_next() or pytest.fail("nothing to take")
    assert service.batches.move(row["id"], token, "failed")
    service.files.delete(file)


def dead_owner() -> str:
    """A process of this machine that has ended."""
    code = "from luthier.app.leases import owner; print(owner())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_one_server_has_a_batch_until_it_is_gone(service: Service) -> None:
    batches = service.batches
    made = batches.create(asked(uploaded(service)), service.files)["id"]
    row, token = batches.claim_next() or pytest.fail("nothing to take")
    assert row["id"] == made
    assert batches.claim_next() is None
    assert batches.beat(made, token) == "validating"
    with batches.engine.begin() as connection:  # as if that server had been killed
        connection.execute(update(BATCHES).values(lease_owner=dead_owner()))
    assert leases.gone(batches.row(made)["lease_owner"])
    assert processes.mark().machine in batches.row(made)["lease_owner"]
    again, second = batches.claim_next() or pytest.fail("nothing to take")
    assert again["id"] == made
    assert batches.beat(made, token) is None  # the first one, were it still there, may write nothing any more
    assert not batches.move(made, token, "in_progress")
    assert batches.move(made, second, "in_progress", counts={"total": 3})
    assert batches.get(made)["in_progress_at"]
    batches.release(made, second, 60)
    assert batches.claim_next() is None
    assert batches.claim_next(without=[made]) is None


def test_a_workspace_with_many_batches_lets_others_go_first(service: Service) -> None:
    other = Service(service.workspace.root, workspace="other")
    for one in (service, service, other):
        one.batches.create(asked(uploaded(one)), one.files)
    every = Batches(service.workspace.engine())
    taken = [(every.claim_next(busy=["default"] if number else ()) or pytest.fail("none"))[0]["workspace"] for number in range(3)]
    assert taken == ["default", "other", "default"]


def test_moves_are_legal_and_ends_are_ends() -> None:
    assert may_move("in_progress", "cancelling")
    assert not may_move("validating", "completed")
    for end in states.FINAL:
        assert not states.MOVES[end]
    assert {new for moves in states.MOVES.values() for new in moves} | {"validating"} == set(states.MOVES)


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"custom_id": ""}, "custom_id"),
        ({"custom_id": 5}, "custom_id"),
        ({"method": "GET"}, "method"),
        ({"url": "/v1/embeddings"}, "url"),
        ({"body": []}, "body"),
        ({"body": {"stream": True}}, "body.stream"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(tmp_path: Path, changed: dict[str, Any], param: str) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_text(f"{line(1)}\n\n{line(2, **changed)}\n{line(3)}\n")
    (fault,) = check(path, URL).faults
    assert (fault["code"], fault["line"], fault["param"]) == ("invalid_line", 3, param)
    assert fault["message"].startswith("line 3: ")


def test_a_file_is_looked_at_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_text("\n".join([line(1), line(2), line(1), line(4, url="/completions"), "{"]))
    found = check(path, URL)
    assert [fault["line"] for fault in found.faults] == [3, 5]
    assert "that of line 1, too" in found.faults[0]["message"]
    path.write_text("\n")
    assert check(path, URL).faults[0]["code"] == "empty_file"
    monkeypatch.setattr("luthier.app.batch_lines.MOST_LINES", 2)
    path.write_text("\n".join(line(number) for number in range(5)))
    assert [fault["code"] for fault in check(path, URL).faults] == ["too_many_lines"]


def test_parts_are_found_again_and_become_two_files(tmp_path: Path) -> None:
    asked_for = [Line(number, f"r{number}", {}) for number in range(1, 5)]
    Parts(tmp_path, "batch_1").add([Answered(asked_for[0], 200, {"a": "é"}), Answered(asked_for[1], 404, {"error": {}})])
    parts = Parts(tmp_path, "batch_1")  # as another server sees it
    assert parts.counts() == {"completed": 1, "failed": 1}
    parts.add([Answered(asked_for[2], 200, {})])
    good = [json.loads(row) for row in parts.output()]
    bad = [json.loads(row) for row in parts.problems(asked_for[3:], "batch_expired", "too late")]
    assert [one["custom_id"] for one in good] == ["r1", "r3"]
    assert good[0]["response"] == {"status_code": 200, "request_id": good[0]["response"]["request_id"], "body": {"a": "é"}}
    assert [(one["custom_id"], one["response"] and one["response"]["status_code"]) for one in bad] == [("r2", 404), ("r4", None)]
    assert bad[1]["error"] == {"code": "batch_expired", "message": "too late"}
    assert len({one["id"] for one in good + bad}) == 4
    assert [json.loads(row) for row in Parts(tmp_path, "batch_1").output()] == good
    parts.remove()
    assert Parts(tmp_path, "batch_1").counts() == {"completed": 0, "failed": 0}


def test_lines_are_read_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + line(7).encode())
    assert [one.custom_id for one in lines(path, URL)] == ["r7"]
