"""Every route x every scope x a foreign workspace, from the table of routes: a new route without a rule, or without an id here, fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from fastapi.testclient import TestClient

from chats import lines
from luthier.api import create_app
from luthier.api.access import OPEN, Door, Guarded, MayRead, check_routes, needs_of
from luthier.app.keys import ALLOWS, SCOPES, Keys
from luthier.app.service import Service
from luthier.app.worker import Worker
from luthier.app.workspaces import Workspaces
from luthier.core.events import PredictionAnswered

MINE, THEIRS = "blue", "green"
INFER = {
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/batches",
    "/v1/batches/{batch}",
    "/v1/batches/{batch}/cancel",
    "/v1/models",
    "/v1/models/{model:path}",
    "/openai/deployments/{deployment:path}/chat/completions",
    "/openai/deployments/{deployment:path}/completions",
    "/openai/deployments/{deployment:path}/embeddings",
    "/api/v1/endpoints/{name}/predict",
    "/api/v1/endpoints/{name}/feedback",
    "/api/v1/feedback",
}
"""All that a key which may only ask reaches, written down: whoever adds to it must add here."""

LOOKS = ("/events", "/checkpoints")
"""Where older clients look by POST."""

UNMADE = ("/report", "/monitors/{endpoint}", "/endpoints/{name}", "/doubts")
"""What the dummy executor's artifacts do not have, nor a labelling of spans."""

NO_RESOURCE = {"subscription": "s", "group": "g", "account": "a", "version": "v1"}
"""Parts of addresses that are nobody's: Azure's, which mean nothing here, and the names of versions, which every endpoint has."""


class World(NamedTuple):
    client: TestClient
    keys: dict[tuple[str, str], str]
    theirs: dict[str, str]

    def ask(self, key: str, method: str, path: str, **options: Any) -> Any:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return self.client.request(method, path, headers=headers, **options)


CHATS = lines(40, "message {n} about {reply}", ("parcel", "refund"))


def fill(client: TestClient, service: Service, key: str) -> dict[str, str]:
    """One of everything in their workspace, by what the parameters of routes are called."""

    def post(path: str, **options: Any) -> dict[str, Any]:
        answer = client.post(path, headers={"authorization": f"Bearer {key}"}, **options)
        assert answer.status_code < 300, answer.text
        found: dict[str, Any] = answer.json()
        return found

    file = post("/v1/files", data={"purpose": "fine-tune"}, files={"file": ("chats.jsonl", CHATS)})["id"]
    job = post("/v1/fine_tuning/jobs", json={"model": "all-minilm-l6-v2", "training_file": file, "executor": "dummy"})["id"]
    Worker(str(service.workspace.root)).run(idle_end=True)
    found = client.get(f"/v1/fine_tuning/jobs/{job}", headers={"authorization": f"Bearer {key}"}).json()
    made, model = found["luthier"], found["fine_tuned_model"]
    post("/api/v1/deployments", json={"name": "theirs", "model": model})
    hook = {"name": "x", "url": "https://93.184.216.34/", "event_types": ["fine_tuning.job.failed"]}
    webhook = post("/v1/webhook_endpoints", json=hook)["id"]
    service.webhooks.notify("fine_tuning.job.failed", {"id": job})
    (delivery, *_) = client.get(f"/api/v1/webhooks/{webhook}/deliveries", headers={"authorization": f"Bearer {key}"}).json()["data"]
    post("/api/v1/labellings", json={"name": "their-words", "kind": "spans", "labels": ["city"]})
    row = {"text": "fly to Bonn", "entities": [{"start": 7, "end": 11, "label": "city"}]}
    post("/api/v1/labellings/their-words/rows", json={"rows": [row]})
    line = b'{"custom_id": "1", "method": "POST", "url": "/v1/completions", "body": {"model": "theirs", "prompt": "a"}}'
    asked = post("/v1/files", data={"purpose": "batch"}, files={"file": ("asked.jsonl", line)})["id"]
    batch = post("/v1/batches", json={"input_file_id": asked, "endpoint": "/v1/completions", "completion_window": "24h"})["id"]
    upload = {"filename": "x.jsonl", "purpose": "fine-tune", "bytes": 100, "mime_type": "application/jsonl"}
    named = {"file": file, "job": job, "run": job, "model": model, "webhook": webhook, "delivery": delivery["id"]}
    named |= {"dataset": made["dataset"], "evaluation": made["evaluation"], "artifact": made["model"], "workspace": THEIRS}
    named |= {"labelling": "their-words", "batch": batch}
    named |= {"deployment": "theirs", "name": "theirs", "endpoint": "theirs", "upload": post("/v1/uploads", json=upload)["id"]}
    return named | {"key": post("/api/v1/keys", json={"name": "one", "scopes": ["read"]})["id"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("home")
    engine = Service(str(home)).workspace.engine()
    for name in (MINE, THEIRS):
        Workspaces(engine).create(name)
    store = Keys(engine)
    keys = {(where, scope): store.create(where, scope, [scope])[1] for where in ("default", MINE, THEIRS) for scope in SCOPES}
    with TestClient(create_app(Service(str(home)), access=Guarded(store))) as client:
        yield World(client, keys, fill(client, Service(str(home), workspace=THEIRS), keys[THEIRS, "admin"]))


def each(world: World) -> Iterator[tuple[str, str, Door]]:
    for route in world.client.app.routes:  # type: ignore[attr-defined]
        if isinstance(route, Door) and route.path not in OPEN:
            yield min(route.methods), route.path, route


def filled(path: str, values: dict[str, str]) -> str:
    for part in path.split("{")[1:]:
        name = part.split("}")[0]
        plain = name.partition(":")[0]
        path = path.replace(f"{{{name}}}", (NO_RESOURCE | values)[plain])
    return path + ("?api-version=2024-10-01" if path.startswith(("/openai", "/subscriptions")) else "")


def names_a_resource(path: str) -> bool:
    """Whether it leads to one thing of a workspace."""
    parts = {part.split("}")[0].partition(":")[0] for part in path.split("{")[1:]}
    return bool(parts - NO_RESOURCE.keys()) and not path.startswith(("/api/v1/workspaces", "/api/v1/catalog"))


def unknown(world: World) -> dict[str, str]:
    """Ids of the same form that nobody has."""
    return {name: value[:-4] + ("0000" if value[-4:] != "0000" else "1111") for name, value in world.theirs.items()}


def test_every_route_asks_for_a_key(world: World) -> None:
    count = 0
    for method, path, _ in each(world):
        for key in ("", "lt-" + "x" * 43, "sk-other"):
            answer = world.ask(key, method, filled(path, unknown(world)))
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key"), (method, path)
            world.client.app.state.access.strangers._seen.clear()  # type: ignore[attr-defined]
        count += 1
    assert count > 150


def test_every_scope_reaches_what_its_rule_says_and_nothing_else(world: World) -> None:
    nothing = unknown(world)
    for method, path, route in each(world):
        (rule,) = needs_of(route)
        for scope in SCOPES:
            for where in ("default", MINE):
                answer = world.ask(world.keys[where, scope], method, filled(path, nothing))
                may = bool(set(rule.scopes) & ALLOWS[scope]) and rule.workspace in ("", where)
                assert answer.status_code < 500, (method, path, answer.text)
                assert (answer.status_code == 403) != may or (may and _own_refusal(answer)), (scope, where, method, path, answer.text)


def _own_refusal(answer: Any) -> bool:
    """Whether a 403 speaks of the thing that was asked for, not of the key."""
    return "scope" not in answer.json()["error"]["message"]


def test_who_may_only_read_changes_nothing_and_who_may_only_ask_reads_nothing(world: World) -> None:
    """Independent of the rules: by the method, and by a list that stands above."""
    for method, path, _ in each(world):
        plain = path.replace("/openai/v1/", "/v1/")
        if path.startswith("/openai/") and not path.startswith(("/openai/v1", "/openai/deployments")):
            plain = path.replace("/openai/", "/v1/")
        url = filled(path, unknown(world))
        if method != "GET" and not path.endswith(LOOKS):
            assert world.ask(world.keys[MINE, "read"], method, url).status_code == 403, (method, path)
        asked = world.ask(world.keys[MINE, "infer"], method, url).status_code
        reads = plain == "/api/v1/feedback" and method == "GET"
        deletes = method == "DELETE"
        assert (asked != 403) == (plain in INFER and not reads and not deletes), (method, path, asked)


def test_what_is_in_another_workspace_is_as_if_it_were_not_there(world: World) -> None:
    nothing, key = unknown(world), world.keys[MINE, "admin"]
    for method, path, _ in each(world):
        if not names_a_resource(path):
            continue
        theirs, nobodys = (world.ask(key, method, filled(path, ids)) for ids in (world.theirs, nothing))
        assert theirs.status_code >= 400, (method, path, theirs.text)
        assert theirs.status_code == nobodys.status_code, (method, path, theirs.text, nobodys.text)
        for value in set(world.theirs.values()) - {THEIRS, "theirs"}:
            assert theirs.text.count(value) <= filled(path, world.theirs).count(value), (method, path, "its message names what is theirs")


def test_the_ids_of_this_test_are_right(world: World) -> None:
    """Whoever owns them reads them: else the test above could not fail."""
    for method, path, _ in each(world):
        if method == "GET" and names_a_resource(path):
            answer = world.ask(world.keys[THEIRS, "admin"], method, filled(path, world.theirs))
            assert answer.status_code == 200 or path.endswith(UNMADE), (path, answer.text)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/fine_tuning/jobs", {"model": "all-minilm-l6-v2", "training_file": "{file}"}),
        ("POST", "/v1/fine_tuning/jobs", {"model": "{model}", "training_file": "{own}"}),
        ("POST", "/v1/fine_tuning/jobs", {"model": "all-minilm-l6-v2", "training_file": "{own}", "validation_file": "{file}"}),
        ("POST", "/api/v1/deployments", {"name": "mine", "model": "{model}"}),
        ("PUT", "/api/v1/deployments/mine", {"model": "{model}"}),
        ("POST", "/v1/chat/completions", {"model": "{model}", "messages": [{"role": "user", "content": "a"}]}),
        ("POST", "/v1/chat/completions", {"model": "{deployment}", "messages": [{"role": "user", "content": "a"}]}),
        ("POST", "/v1/completions", {"model": "{model}", "prompt": "a"}),
        ("POST", "/v1/embeddings", {"model": "{model}", "input": "a"}),
        ("POST", "/v1/batches", {"input_file_id": "{file}", "endpoint": "/v1/completions", "completion_window": "24h"}),
        ("POST", "/api/v1/endpoints/{deployment}/predict", {"inputs": [{"text": "a"}]}),
        ("POST", "/api/v1/artifacts/{artifact}/deploy", {"endpoint": "mine"}),
        ("POST", "/api/v1/plans", {"model": "all-minilm-l6-v2", "data": {"train": ["{file}"]}}),
        ("POST", "/v1/uploads/{upload}/complete", {"part_ids": []}),
        ("POST", "/api/v1/keys", {"name": "x", "scopes": ["read"], "workspace": "{workspace}"}),
    ],
)
def test_nothing_of_theirs_is_used_by_its_name_in_a_body(world: World, method: str, path: str, body: dict[str, Any]) -> None:
    key = world.keys[MINE, "admin"]
    own = world.ask(key, "POST", "/v1/files", data={"purpose": "fine-tune"}, files={"file": ("c.jsonl", CHATS)}).json()["id"]

    def asked(ids: dict[str, str]) -> Any:
        text = json.dumps(body)
        for name, value in (ids | {"own": own}).items():
            text = text.replace(f"{{{name}}}", value)
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        return world.client.request(method, filled(path, ids), content=text.encode(), headers=headers)

    theirs, nobodys = asked(world.theirs), asked(unknown(world))
    assert theirs.status_code in (400, 403, 404), theirs.text
    assert theirs.status_code == nobodys.status_code, (theirs.text, nobodys.text)


def test_lists_show_what_is_ones_own(world: World) -> None:
    for method, path, _ in each(world):
        if method != "GET" or "{" in path or path in ("/api/v1/workspaces", "/api/v1/audit"):
            continue  # the audit log says what this test asked for
        said = world.ask(world.keys[MINE, "admin"], method, path).text
        for name, value in world.theirs.items():
            assert name in ("workspace", "deployment", "name", "endpoint") or value not in said, (path, name)


def test_a_route_without_a_rule_is_no_server(world: World) -> None:
    app = create_app(world.client.app.state.tenants.service("default"))  # type: ignore[attr-defined]

    @app.get("/api/v1/new")
    async def new() -> dict[str, str]:
        return {}

    with pytest.raises(RuntimeError, match="/api/v1/new has 0 rules"):
        check_routes(app)

    @app.get("/api/v1/twice")
    async def twice(one: MayRead, two: MayRead) -> dict[str, str]:
        return {}

    app.router.routes = [route for route in app.router.routes if getattr(route, "path", "") != "/api/v1/new"]
    with pytest.raises(RuntimeError, match="/api/v1/twice has 2 rules"):
        check_routes(app)


def test_an_answer_is_in_the_journal_of_its_own_workspace(world: World) -> None:
    service: Service = world.client.app.state.tenants.service(THEIRS)  # type: ignore[attr-defined]
    service.journal.append([PredictionAnswered(endpoint="theirs", id="1", export="e", output="x", confidence=1.0)])
    mine: Service = world.client.app.state.tenants.service(MINE)  # type: ignore[attr-defined]
    assert not list(mine.journal.all(about="theirs"))
