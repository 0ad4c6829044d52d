"""Azure's resource manager as its documents' curl asks, and the same deployments in our words."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

ACCOUNT = "/subscriptions/s/resourceGroups/my%20group/providers/Microsoft.CognitiveServices/accounts/a"
VERSION = "?api-version=2024-10-01"


def _ask(live: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer any"}
    try:
        with urllib.request.urlopen(urllib.request.Request(live.address + path, data, headers, method=method)) as answer:
            status, said = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, said = error.code, error.read()
    return status, json.loads(said) if said else None


def _wanted(model: str) -> dict[str, Any]:
    return {"sku": {"name": "standard", "capacity": 1}, "properties": {"model": {"format": "OpenAI", "name": model, "version": "1"}}}


def test_the_life_of_a_deployment_as_azures_documents_have_it(live: Any) -> None:
    path = f"{ACCOUNT}/deployments/desk{VERSION}"
    status, made = _ask(live, "PUT", path, _wanted(live.tuned))
    assert status == 200
    assert made["id"] == f"{ACCOUNT.replace('%20', ' ')}/deployments/desk"
    assert (made["name"], made["type"]) == ("desk", "Microsoft.CognitiveServices/accounts/deployments")
    assert made["sku"] == {"name": "standard", "capacity": 1}
    assert made["properties"]["provisioningState"] == "Succeeded"
    assert made["properties"]["model"] == {"format": "OpenAI", "name": live.tuned, "version": "1"}
    assert _ask(live, "GET", path) == (200, made)
    assert _ask(live, "POST", path, _wanted(live.tuned))[0] == 200
    assert "desk" in [one["name"] for one in _ask(live, "GET", f"{ACCOUNT}/deployments{VERSION}")[1]["value"]]
    said = live.azure().chat.completions.create(model="desk", messages=[{"role": "user", "content": "where is my parcel"}])
    assert said.model == "desk"
    assert _ask(live, "DELETE", path) == (200, None)
    assert _ask(live, "GET", path)[0] == 404
    assert _ask(live, "DELETE", path)[0] == 404


def test_what_must_be_made_first_is_accepted(live: Any) -> None:
    path = f"{ACCOUNT}/deployments/step{VERSION}"
    status, made = _ask(live, "PUT", path, _wanted(live.step))
    assert (status, made["properties"]["provisioningState"]) == (201, "Accepted")
    assert list(live.service.deployments.pending()) == ["step"]
    assert _ask(live, "PUT", "/api/v1/deployments/step", {"model": live.step})[0] == 202
    assert _ask(live, "DELETE", path)[0] == 200


@pytest.mark.parametrize("version", ["", "?api-version=", "?api-version=new", "?api-version=2024-10-01%00"])
def test_the_version_is_needed(live: Any, version: str) -> None:
    for method, path in (("GET", ""), ("GET", "/desk"), ("DELETE", "/desk"), ("PUT", "/desk"), ("POST", "/desk")):
        body = _wanted(live.tuned) if method in ("PUT", "POST") else None
        status, said = _ask(live, method, f"{ACCOUNT}/deployments{path}{version}", body)
        assert status == 400
        assert "api-version" in said["error"]["message"]


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("a%20b", None, 400),
        (".hidden", None, 400),
        ("a%00b", None, 400),
        ("x" * 41, None, 400),
        ("ok", {"properties": {}}, 400),
        ("ok", {"properties": {"model": {"name": "never-heard-of"}}}, 404),
        ("ok", {"properties": {"model": {"name": "gpt2"}}}, 400),
        ("ok", {"properties": {"model": {"name": "a\u0000b"}}}, 400),
        ("ok", {"properties": {"model": {"name": "x", "format": "Cohere"}}}, 400),
        ("ok", {"properties": {"model": {"name": "x"}}, "sku": {"capacity": 10**30}}, 400),
        ("ok", {"properties": {"model": {"name": "x"}}, "typo": 1}, 400),
        ("ok", [], 400),
    ],
)
def test_what_cannot_be_deployed(live: Any, name: str, body: Any, status: int) -> None:
    found, said = _ask(live, "PUT", f"{ACCOUNT}/deployments/{name}{VERSION}", _wanted(live.tuned) if body is None else body)
    assert found == status
    assert said["error"]["message"]


def test_the_same_in_our_words(live: Any) -> None:
    status, made = _ask(live, "POST", "/api/v1/deployments", {"name": "ours", "model": live.tuned})
    assert (status, made["state"], made["model"]) == (201, "succeeded", live.tuned)
    assert _ask(live, "GET", "/api/v1/deployments/ours") == (200, made)
    first = _ask(live, "GET", "/api/v1/deployments?limit=1")[1]
    assert (first["has_more"], first["last_id"]) == (True, "ours")
    rest = _ask(live, "GET", "/api/v1/deployments?limit=100&after=ours")[1]
    assert (rest["has_more"], [one["id"] for one in rest["data"]]) == (False, ["support"])
    assert _ask(live, "GET", "/api/v1/deployments?after=none")[0] == 404
    assert _ask(live, "DELETE", "/api/v1/deployments/ours") == (200, {"id": "ours", "object": "deployment", "deleted": True})
    assert _ask(live, "DELETE", "/api/v1/deployments/ours")[0] == 404
