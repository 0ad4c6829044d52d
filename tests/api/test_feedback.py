"""Judgements over HTTP: given by anybody who may ask, listed newest first with a cursor."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from luthier.api import create_app

FEEDBACK = "/api/v1/feedback"


@pytest.fixture(scope="module")
def client(filled, tmp_path_factory):
    """A server of our own: here is written."""
    with TestClient(create_app(filled.fill(tmp_path_factory.mktemp("feedback") / "home"), workers=1), raise_server_exceptions=False) as one:
        yield one


def test_what_was_said_is_listed_with_a_cursor(records):
    first = records.get(FEEDBACK, params={"endpoint": "support", "limit": 2}).json()
    assert [one["answer"] for one in first["data"]] == ["answer-2", "answer-1"]
    assert first["has_more"] is True
    second = records.get(FEEDBACK, params={"endpoint": "support", "limit": 2, "after": first["last_id"]}).json()
    assert [one["answer"] for one in second["data"]] == ["answer-0"]
    assert second["has_more"] is False
    assert second["data"][0]["comment"] == "from <EMAIL_1>"
    assert second["data"][0]["right"] == "refund"


@pytest.mark.parametrize("after", ["nothing", "feedback-", "feedback-x", "feedback-²", "feedback-9999999999999999999999", "feedback--1"])
def test_a_cursor_that_is_none_is_400(records, after):
    assert records.get(FEEDBACK, params={"endpoint": "support", "after": after}).status_code == 400


def test_which_endpoint_must_be_said_and_known(records):
    assert records.get(FEEDBACK).status_code == 400
    assert records.get(FEEDBACK, params={"endpoint": "suport"}).status_code == 404


def test_a_judgement_is_kept(client):
    said = client.post(FEEDBACK, json={"endpoint": "support", "id": "mine", "thumbs": "up"})
    assert (said.status_code, said.json()) == (202, {"id": "mine", "kept": True})
    assert client.get(FEEDBACK, params={"endpoint": "support", "limit": 1}).json()["data"][0]["answer"] == "mine"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"right": "refunds"}, 400), ({"thumbs": "sideways"}, 400), ({"thumbs": ""}, 400), ({"id": ""}, 400), ({"id": "a" * 201}, 400),
        ({"who": "me"}, 400), ({"endpoint": "suport"}, 404), ({"comment": "a\0b"}, 400), ({"right": ["refund", "parcel"]}, 400),
    ],
)  # fmt: skip
def test_a_wrong_judgement_is_refused_and_not_kept(client, change, status):
    before = client.get(FEEDBACK, params={"endpoint": "support"}).json()["first_id"]
    said = client.post(FEEDBACK, json={"endpoint": "support", "id": "mine", "thumbs": "up"} | change)
    assert said.status_code == status, said.text
    assert client.get(FEEDBACK, params={"endpoint": "support"}).json()["first_id"] == before


def test_half_an_emoji_is_refused(client):
    body = b'{"endpoint": "support", "id": "mine", "comment": "\\ud83d"}'
    assert client.post(FEEDBACK, content=body, headers={"content-type": "application/json"}).status_code == 400
