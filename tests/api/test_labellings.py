"""Labelling over REST: the nouns and verbs of ``luthier label``, by the client that the command line uses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from luthier.api import create_app
from luthier.app.service import Service
from luthier.client import Client
from luthier.core.errors import Conflict, InputError, UnknownName
from worded import without_encoder

LABELS = ["refund", "parcel", "account"]
ROWS = [{"text": f"message {number} about my {LABELS[number % 3]}"} for number in range(30)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        without_encoder(patch)
        yield Service(tmp_path_factory.mktemp("labels") / "home")


@pytest.fixture(scope="module")
def client(service: Service, filled: Any) -> Iterator[Client]:
    """Of a listening server."""
    with filled.listening(create_app(service, workers=1)) as address:
        yield Client(address, tries=1)


@pytest.fixture(scope="module")
def http(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service, workers=1)) as asked:
        yield asked


def test_from_messages_to_a_file_of_labels(client: Client, service: Service) -> None:
    made = client.labellings.create("mail", labels=LABELS, author="ann")
    assert (made["object"], made["kind"], made["labels"], made["author"]) == ("labelling", "label", sorted(LABELS), "ann")
    assert client.labellings.add("mail", [*ROWS, {"text": " "}], "ann") | {"refusals": []} == {
        "added": 30, "known": 0, "labels": 0, "refused": 1, "refusals": [],
    }  # fmt: skip
    service.labellings.ready("mail")
    for _ in range(24):
        (asked,) = client.labellings.next("mail", "ann")
        progress = client.labellings.say("mail", [{"row": asked["id"], "value": asked["text"].rsplit(" ", 1)[1]}], "ann")
    assert (progress["done"], progress["left"]) == (24, 6)
    (asked,) = client.labellings.next("mail", "ann")
    assert asked["suggestion"]["value"] == asked["text"].rsplit(" ", 1)[1]
    assert len(asked["nearest"]) == 3
    progress = client.labellings.say("mail", [{"row": asked["id"], "verb": "accept"}], "ann")
    assert progress == client.labellings.progress("mail", "ann")
    assert client.labellings.undo("mail", "ann")["undone"]["verb"] == "accept"
    with pytest.raises(Conflict):
        client.labellings.undo("mail", "bob")
    log = client.labellings.history("mail", 2)
    assert [entry["verb"] for entry in log["data"]] == ["undo", "accept"]
    assert log["data"][0]["undoes"] == log["last_id"]
    assert len(client.labellings.history("mail", 100, log["last_id"])["data"]) == 24
    lines = [json.loads(line) for line in client.labellings.export("mail").splitlines()]
    assert all(line["label"] in line["text"] for line in lines)
    assert len(lines) == 24
    file = client.labellings.file("mail")
    assert client.files.get(file["id"])["filename"] == "mail.jsonl"
    assert client.labellings.get("mail")["progress"]["labelled"] == 24
    assert [one["name"] for one in client.labellings.all()] == ["mail"]


def test_two_authors_and_what_is_likely_wrong(client: Client) -> None:
    client.labellings.create("both", labels=LABELS)
    assert client.labellings.share("both", 10)["shared"] == 0
    client.labellings.add("both", ROWS)
    assert client.labellings.share("both", 10, "ann")["shared"] == 10
    for author in ("ann", "bob"):
        for asked in client.labellings.next("both", author, 10):
            assert asked["shared"]
            client.labellings.say("both", [{"row": asked["id"], "value": asked["text"].rsplit(" ", 1)[1]}], author)
    (pair,) = client.labellings.agreement("both")
    assert (pair["rows"], pair["kappa"], pair["disagreements"]) == (10, 1.0, [])
    assert client.labellings.doubts("both")["rows"] == []
    assert client.labellings.delete("both") == {"id": "both", "deleted": True}
    with pytest.raises(UnknownName):
        client.labellings.get("both")


def test_spans(client: Client) -> None:
    client.labellings.create("places", kind="spans", labels=["city"])
    client.labellings.add("places", [{"text": "fly to Bonn"}])
    (asked,) = client.labellings.next("places")
    with pytest.raises(InputError, match="no part of a text"):
        client.labellings.say("places", [{"row": asked["id"], "value": [{"start": 7, "end": 99, "label": "city"}]}])
    client.labellings.say("places", [{"row": asked["id"], "value": [{"start": 7, "end": 11, "label": "city"}]}])
    assert client.labellings.export("places", "conll") == "fly\tO\nto\tO\nBonn\tB-city\n"
    assert client.labellings.next("places") == []
    with pytest.raises(InputError):
        client.labellings.doubts("places")


def test_an_export_is_a_file_that_no_browser_runs(http: TestClient, client: Client) -> None:
    client.labellings.create("page", labels=["a"])
    client.labellings.add("page", [{"text": "<script>alert(1)</script>", "label": "a"}])
    answer = http.get("/api/v1/labellings/page/export", params={"as": "label-studio"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="page.json"'
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("", {"name": "a b"}, 400),
        ("", {"name": "x", "kind": "word"}, 400),
        ("", {"name": "x", "encoder": "/etc"}, 404),
        ("", {"name": "x", "dataset": "nothing"}, 404),
        ("/nothing/rows", {"rows": [{"text": "a"}]}, 404),
        ("/kept/rows", {"rows": []}, 400),
        ("/kept/rows", {"rows": [{"text": "a\x00"}]}, 400),
        ("/kept/rows", {"rows": [{"text": "a", "other": 1}]}, 400),
        ("/kept/labels", {"labels": [{"row": "nothing", "value": "a"}]}, 404),
        ("/kept/labels", {"labels": [{"row": "{row}", "value": "b"}]}, 400),
        ("/kept/labels", {"labels": [{"row": "{row}", "verb": "accept"}]}, 409),
        ("/kept/labels", {"labels": [{"row": "{row}", "value": "a", "suggested": {"value": {"deep": []}}}]}, 400),
        ("/kept/labels", {"labels": [{"row": "{row}", "value": "a"}], "author": "a\nb"}, 400),
        ("/kept/undo", {"author": "zoe"}, 409),
        ("/kept/share", {"count": 0}, 400),
    ],
)
def test_what_cannot_be_is_refused(http: TestClient, service: Service, path: str, body: dict[str, Any], status: int) -> None:
    if not any(one["name"] == "kept" for one in service.labellings.list()):
        service.labellings.create("kept", labels=["a"])
        service.labellings.add("kept", [{"text": "one"}])
    (row,) = service.labellings._desk("kept").messages
    answer = http.post("/api/v1/labellings" + path, json=json.loads(json.dumps(body).replace("{row}", row)))
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert service.labellings.history("kept")["data"] == []


def test_what_is_deep_is_no_defect_of_the_server(http: TestClient, client: Client) -> None:
    client.labellings.create("deep", labels=["a"])
    said = client.labellings.add("deep", [{"text": "one"}, {"text": "two", "label": "[" * 5000}])
    assert (said["added"], said["refused"]) == (1, 1)
    (asked,) = client.labellings.next("deep")
    row = json.dumps({"row": asked["id"], "value": "a", "suggested": {"more": 0}}).replace("0}", "[" * 900 + "]" * 900 + "}")
    answer = http.post("/api/v1/labellings/deep/labels", content=f'{{"labels": [{row}]}}', headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert client.labellings.history("deep")["data"][0]["suggested"] == {}


def test_an_export_in_a_form_that_is_none(http: TestClient, client: Client) -> None:
    client.labellings.create("forms")
    assert http.get("/api/v1/labellings/forms/export", params={"as": "xml"}).status_code == 404
    assert http.get("/api/v1/labellings/forms/export", params={"as": "conll"}).status_code == 400
    assert http.get("/api/v1/labellings/forms/next", params={"count": 1000}).status_code == 400
    assert http.get("/api/v1/labellings/forms/labels", params={"after": "label-x"}).status_code == 400
    assert http.get("/api/v1/labellings", params={"after": "nothing"}).status_code == 404


def test_the_author_is_the_key_where_none_is_named(http: TestClient, service: Service, tmp_path: Path) -> None:
    service.labellings.create("anon", labels=["a"])
    service.labellings.add("anon", [{"text": "one"}])
    (asked,) = http.get("/api/v1/labellings/anon/next").json()["data"]
    http.post("/api/v1/labellings/anon/labels", json={"labels": [{"row": asked["id"], "value": "a"}]})
    assert service.labellings.history("anon")["data"][0]["author"] == "default"
