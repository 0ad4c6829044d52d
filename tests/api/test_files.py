"""Files and uploads over HTTP: by OpenAI's own client, by hand-made bodies, and by clients that break off."""

import asyncio
import io
import json
import shutil
import time

import pytest
from sqlalchemy import delete
from starlette.testclient import TestClient

from luthier.api import create_app
from luthier.app.service import Service
from luthier.store.tables import FILES

ROWS = [{"messages": [{"role": "user", "content": f"m{n}"}, {"role": "assistant", "content": "ab"[n % 2]}]} for n in range(12)]
DATA = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
FORM = {"purpose": "fine-tune"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A service and a client of its app."""
    service = Service(tmp_path_factory.mktemp("home"))
    with TestClient(create_app(service), raise_server_exceptions=False) as opened:
        yield service, opened


@pytest.fixture
def service(served):
    """The service, without files."""
    with served[0].workspace.engine().begin() as connection:
        connection.execute(delete(FILES))
    shutil.rmtree(served[0].files.blobs.root, ignore_errors=True)
    return served[0]


@pytest.fixture
def client(served, service):
    return served[1]


def post(client, data=DATA, name="train.jsonl", path="/v1/files", **form):
    return client.post(path, files={"file": (name, data)}, data=FORM | form)


def refused(response, status=400):
    assert response.status_code == status, response.text
    assert response.headers["x-request-id"]
    error = response.json()["error"]
    assert error["message"]
    return error


def left(service):
    return [path.name for path in service.files.blobs.root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("path", ["/v1/files", "/openai/v1/files", "/openai/files?api-version=2024-10-21"])
def test_a_life(client, path):
    made = post(client, path=path)
    assert made.status_code == 200
    file = made.json()
    assert (file["object"], file["status"], file["bytes"], file["filename"]) == ("file", "processed", len(DATA), "train.jsonl")
    base, _, query = path.partition("?")
    one = f"{base}/{file['id']}"
    assert client.get(f"{one}?{query}").json()["facts"]["reply"] == "labels"
    content = client.get(f"{one}/content?{query}")
    assert content.content == DATA
    assert content.headers["content-disposition"] == "attachment; filename*=UTF-8''train.jsonl"
    assert client.delete(f"{one}?{query}").json() == {"id": file["id"], "object": "file", "deleted": True}
    assert refused(client.get(f"{one}?{query}"), 404)["code"] == "not_found"


def test_bad_rows_are_in_the_status(client):
    file = post(client, DATA + b'{"messages": [{"role": "asistant", "content": "a"}]}\n').json()
    assert file["status"] == "error"
    assert file["status_details"] == "line 13: messages[0].role is 'asistant': did you mean 'assistant'?"


def test_the_lists_pages(client):
    ids = [post(client, b"x", purpose="user_data").json()["id"] for _ in range(3)]
    page = client.get("/v1/files?limit=2").json()
    assert ([one["id"] for one in page["data"]], page["has_more"], page["last_id"]) == (ids[:0:-1], True, ids[1])
    page = client.get(f"/v1/files?limit=2&after={page['last_id']}").json()
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (ids[:1], False)
    assert client.get("/v1/files?purpose=vision").json() == {
        "object": "list",
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }
    for query in ("limit=0", "limit=10001", "limit=x", "order=up", "purpose=fine_tune", "after=" + "a" * 101):
        refused(client.get(f"/v1/files?{query}"))
    for query in ("after=file-1", "after=%00", "after=%ED%A0%BD"):
        refused(client.get(f"/v1/files?{query}"), 404)


@pytest.mark.parametrize("name", ["file-1", "file-%00", "%F0%9F", "..%2f..%2fetc", "file-" + "0" * 5000])
def test_what_is_no_file_is_not_found(client, name):
    for path in ("", "/content"):
        refused(client.get(f"/v1/files/{name}{path}"), 404)
    refused(client.delete(f"/v1/files/{name}"), 404)


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"purpose": "fine_tune"}, "purpose"),
        ({"purpose": "fine-tune-results"}, "purpose"),
        ({"expires_after[anchor]": "created_at"}, "expires_after.seconds"),
        ({"expires_after[seconds]": "3599", "expires_after[anchor]": "created_at"}, "expires_after.seconds"),
        ({"expires_after[seconds]": "1e4", "expires_after[anchor]": "created_at"}, "expires_after.seconds"),
        ({"expires_after[seconds]": "9" * 400}, "expires_after.seconds"),
        ({"expires_after[seconds]": "3600", "expires_after[anchor]": "now"}, "expires_after.anchor"),
    ],
)
def test_wrong_fields_are_named_and_leave_nothing(client, service, form, param):
    assert refused(post(client, **form))["param"] == param
    assert left(service) == []


def body(*parts, end=b"--X--\r\n"):
    return b"".join(b"--X\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts) + end


FILE, PURPOSE = (b'name="file"; filename="t.jsonl"', DATA), (b'name="purpose"', b"fine-tune")


def raw(client, content, kind="multipart/form-data; boundary=X"):
    return client.post("/v1/files", content=content, headers={"content-type": kind})


def test_the_file_may_come_before_its_purpose(client):
    assert raw(client, body(FILE, PURPOSE)).json()["status"] == "processed"
    assert raw(client, body(PURPOSE, FILE)).json()["status"] == "processed"


def test_bodies_in_odd_pieces(client):
    data = DATA + b"\r\n--no boundary\r\n--\r\n-"
    whole = body((PURPOSE[0], b"user_data"), (FILE[0], data))
    file = raw(client, iter(whole[n : n + 7] for n in range(0, len(whole), 7))).json()
    assert client.get(f"/v1/files/{file['id']}/content").content == data


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (body(PURPOSE, FILE, end=b""), "multipart/form-data; boundary=X", "ends in the middle"),
        (body(PURPOSE, FILE)[:-400], "multipart/form-data; boundary=X", "ends in the middle"),
        (b"", "multipart/form-data; boundary=X", "ends in the middle"),
        (body(PURPOSE, FILE), "multipart/form-data; boundary=Y", "no multipart form"),
        (body(PURPOSE, FILE), "multipart/form-data", "names no boundary"),
        (body(PURPOSE, FILE), "multipart/form-data; boundary=" + "X" * 300, "no multipart form"),
        (body(PURPOSE, FILE), "multipart/mixed; boundary=X", "no multipart form"),
        (b'{"purpose": "fine-tune"}', "application/json", "no multipart form"),
        (b"purpose=fine-tune", "application/x-www-form-urlencoded", "no multipart form"),
        (body(PURPOSE), "multipart/form-data; boundary=X", "file: is missing"),
        (body(FILE), "multipart/form-data; boundary=X", "purpose: is missing"),
        (body(PURPOSE, FILE, FILE), "multipart/form-data; boundary=X", "file: is there twice"),
        (body(PURPOSE, PURPOSE, FILE), "multipart/form-data; boundary=X", "purpose: is there twice"),
        (body(PURPOSE, (b'name="data"; filename="x"', b"x")), "multipart/form-data; boundary=X", "data: is a file that is not expected"),
        (body((b'filename="x"', b"x")), "multipart/form-data; boundary=X", "a part without a name"),
        (body((b'name="a"', b"x" * 70_000)), "multipart/form-data; boundary=X", "a: is longer than"),
        (body(*[(b'name="a%d"' % n, b"") for n in range(60)]), "multipart/form-data; boundary=X", "more than 50 fields"),
        (body((b'name="' + b"a" * 100_000 + b'"', b"")), "multipart/form-data; boundary=X", "no multipart form"),
        (b"\x00\xff" * 5000, "multipart/form-data; boundary=X", "no multipart form"),
        (body(PURPOSE, (FILE[0], b"")), "multipart/form-data; boundary=X", "the file is empty"),
    ],
)
def test_broken_bodies_are_refused_and_leave_nothing(client, service, content, kind, words):
    assert words in refused(raw(client, content, kind))["message"]
    assert left(service) == []
    assert client.get("/v1/files").json()["data"] == []


def test_too_large_a_file_is_refused_while_it_comes(client, service, monkeypatch):
    monkeypatch.setattr("luthier.api.routes.files.LARGEST_BYTES", 1000)
    error = refused(post(client, b"x" * 1001, purpose="user_data"), 413)
    assert "POST /v1/uploads" in error["hint"]
    assert post(client, b"x" * 1000, purpose="user_data").status_code == 200
    assert len(left(service)) == 1


def test_a_client_that_goes_away_leaves_nothing(service):
    app, seen = create_app(service), []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/files",
        "raw_path": b"/v1/files",
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=X")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
        "root_path": "",
    }
    start = body(PURPOSE, (FILE[0], b"x" * 3_000_000))[:-100]
    messages = [{"type": "http.request", "body": start, "more_body": True}, {"type": "http.disconnect"}]

    async def receive():
        seen.append(left(service))
        return messages.pop(0)

    async def send(message):
        raise AssertionError(f"nobody is there for {message}")

    asyncio.run(app(scope, receive, send))
    assert len(seen[-1]) == 1, "it was written while it came"
    assert left(service) == []


def test_names_are_made_safe(client):
    raw_name = b'name="file"; filename="../../\xc3\xbcber\\\\..\\\\a.jsonl"'
    assert raw(client, body(PURPOSE, (raw_name, DATA))).json()["filename"] == "a.jsonl"
    assert raw(client, body(PURPOSE, (b'name="file"', DATA))).json()["filename"] == "upload"
    latin = raw(client, body(PURPOSE, (b'name="file"; filename="caf\xe9.jsonl"', DATA))).json()
    assert latin["filename"] == "café.jsonl"
    assert client.get(f"/v1/files/{latin['id']}/content").content == DATA


def test_large_files_are_checked_soon(client, monkeypatch):
    monkeypatch.setattr("luthier.app.files.CHECKED_AT_ONCE_BYTES", 10)
    file = post(client).json()
    assert file["status"] == "uploaded"
    end = time.monotonic() + 10
    while client.get(f"/v1/files/{file['id']}").json()["status"] == "uploaded" and time.monotonic() < end:
        time.sleep(0.02)
    assert client.get(f"/v1/files/{file['id']}").json()["status"] == "processed"


def test_the_loss_mask(client):
    file = post(client).json()["id"]
    mask = client.get(f"/api/v1/files/{file}/loss-mask?limit=1").json()
    assert mask["rows"][0]["messages"][1] == {"role": "assistant", "trained": True, "text": "a", "tokens": 1}
    assert (mask["trainable_tokens"], mask["total_rows"]) == (12, 12)
    assert (mask["task"], mask["rows"][0]["label"]) == ("text-classification", 1)
    counted = client.get(f"/api/v1/files/{file}/loss-mask?limit=1&model=all-minilm-l6-v2").json()
    assert counted["rows"][0]["messages"][1]["tokens"] == 1, "without the padding that the model's own tokenizer has"
    assert counted["rows"][0]["label"] == 1
    refused(client.get(f"/api/v1/files/{file}/loss-mask?model=no-such"), 404)
    refused(client.get(f"/api/v1/files/{file}/loss-mask?model=/etc"), 404)
    refused(client.get(f"/api/v1/files/{file}/loss-mask?limit=0"))


def test_import_by_address_is_refused(client):
    given = {"purpose": "fine-tune", "filename": "a.jsonl", "content_url": "http://169.254.169.254/latest"}
    assert "upload it" in refused(client.post("/openai/files/import?api-version=1", json=given))["hint"]


def test_uploads_over_http(client, service):
    given = {"bytes": len(DATA), "filename": "t.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
    upload = client.post("/v1/uploads", json=given).json()
    assert (upload["status"], upload["file"]) == ("pending", None)
    at = f"/v1/uploads/{upload['id']}"
    parts = [client.post(f"{at}/parts", files={"data": ("blob", piece)}).json()["id"] for piece in (DATA[:99], DATA[99:])]
    refused(client.post(f"{at}/complete", json={"part_ids": parts[::-1], "md5": "0" * 32}))
    refused(client.post(f"{at}/complete", json={"part_ids": parts, "more": 1}))
    done = client.post(f"{at}/complete", json={"part_ids": parts}).json()
    assert (done["status"], done["file"]["status"]) == ("completed", "processed")
    assert refused(client.post(f"{at}/cancel"), 409)["code"] == "conflict"
    refused(client.post("/v1/uploads/upload_1/cancel"), 404)
    refused(client.post("/v1/uploads/upload_1/parts", files={"data": b"x"}), 404)
    refused(client.post(f"{at}/parts", content=b"x"), 409)
    for wrong in (
        {"bytes": 0},
        {"bytes": 2**70},
        {"purpose": "x"},
        {"mime_type": ""},
        {"expires_after": {"anchor": "created_at", "seconds": 1}},
    ):
        refused(client.post("/v1/uploads", json=given | wrong))
    assert len(left(service)) == 1


def test_a_part_has_at_most_64_mb(client, service, monkeypatch):
    monkeypatch.setattr("luthier.api.routes.uploads.LARGEST_PART_BYTES", 10)
    given = {"bytes": 100, "filename": "t.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
    upload = client.post("/v1/uploads", json=given).json()["id"]
    refused(client.post(f"/v1/uploads/{upload}/parts", files={"data": b"x" * 11}), 413)
    assert left(service) == []


def test_openais_client(client):
    openai = pytest.importorskip("openai")
    try:
        mine = openai.OpenAI(base_url="http://testserver/v1", api_key="k", http_client=client, max_retries=0)
    except TypeError:
        pytest.skip("this version of the client takes no httpx client: tests/clients asks a real server")
    file = mine.files.create(
        file=("train.jsonl", io.BytesIO(DATA)), purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert mine.files.wait_for_processing(file.id).status == "processed"
    assert file.expires_at == file.created_at + 3600
    assert mine.files.content(file.id).read() == DATA
    assert [one.id for one in mine.files.list(limit=1)] == [file.id]
    assert mine.files.delete(file.id).deleted
    upload = mine.uploads.upload_file_chunked(file=DATA, filename="t.jsonl", bytes=len(DATA), mime_type="text/jsonl", purpose="fine-tune")
    assert upload.file.status == "processed"
    with pytest.raises(openai.NotFoundError):
        mine.files.retrieve(file.id)


def test_what_is_described_is_what_is_answered(client):
    described = client.get("/openapi.json").json()["paths"]["/v1/files"]["post"]
    form = described["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file", "purpose"]
    assert "4XX" in described["responses"]
