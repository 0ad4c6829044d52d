"""Uploads in parts: joined once, in order, whole; cancelled and expired ones leave nothing."""

import hashlib
import json
import threading

import pytest
from sqlalchemy import insert, update

from luthier.app.files import Files
from luthier.app.uploads import LARGEST_BYTES, Uploads
from luthier.core.errors import Conflict, InputError, QuotaExceeded, UnknownName
from luthier.store.tables import UPLOADS, WORKSPACES
from luthier.store.workspace import Workspace

DATA = b"".join(json.dumps({"prompt": f"p{n}", "completion": f"c{n}"}).encode() + b"\n" for n in range(20))
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture
def uploads(tmp_path):
    workspace = Workspace(tmp_path / "home")
    return Uploads(workspace, Files(workspace))


@pytest.fixture
def begun(uploads):
    """An upload and its two parts."""
    upload = uploads.create("train.jsonl", "fine-tune", len(DATA), "text/jsonl", {"anchor": "created_at", "seconds": 3600})
    return upload, [uploads.add_part(upload.id, [DATA[:300]]), uploads.add_part(upload.id, [DATA[300:]])]


def blobs_of(uploads):
    return [path for path in uploads.files.blobs.root.rglob("*") if path.is_file()]


def test_parts_become_a_checked_file(uploads, begun):
    upload, (first, second) = begun
    done = uploads.complete(upload.id, [first.id, second.id], MD5.upper())
    assert (done.state, done.file.status, done.file.purpose, done.file.filename) == ("completed", "processed", "fine-tune", "train.jsonl")
    assert done.file.expires_at == pytest.approx(done.file.created_at + 3600)
    assert b"".join(uploads.files.content(done.file.id)) == DATA
    assert done.as_object()["file"]["id"] == done.file.id
    assert len(blobs_of(uploads)) == 1
    assert uploads.complete(upload.id, [first.id, second.id]).file == done.file, "a repeated request answers the same"
    with pytest.raises(Conflict, match="is completed"):
        uploads.add_part(upload.id, [b"x"])
    with pytest.raises(Conflict):
        uploads.cancel(upload.id)


def test_the_order_is_the_callers(uploads):
    upload = uploads.create("t", "user_data", 6, "text/plain")
    last, first = uploads.add_part(upload.id, [b"def"]), uploads.add_part(upload.id, [b"abc"])
    assert b"".join(uploads.files.content(uploads.complete(upload.id, [first.id, last.id]).file.id)) == b"abcdef"


def test_what_does_not_fit_is_refused_and_can_be_mended(uploads, begun):
    upload, (first, second) = begun
    other = uploads.create("t", "user_data", 3, "text/plain")
    foreign = uploads.add_part(other.id, [b"abc"])
    for ids, md5, words in (
        ([], "", "is empty"),
        ([first.id, first.id], "", "names a part twice"),
        ([first.id], "", "the parts have 300 bytes"),
        ([first.id, foreign.id], "", "is no part of"),
        ([first.id, "part_\0"], "", "is no part of"),
        ([first.id, second.id], "0" * 32, f"md5: the parts come to {MD5}"),
        ([second.id, first.id], MD5, "md5"),
    ):
        with pytest.raises(InputError, match=words):
            uploads.complete(upload.id, ids, md5)
    assert uploads.complete(upload.id, [first.id, second.id], MD5).state == "completed"


def test_cancelled_ones_leave_nothing(uploads, begun):
    upload, parts = begun
    assert uploads.cancel(upload.id).state == "cancelled"
    assert uploads.cancel(upload.id).state == "cancelled"
    assert blobs_of(uploads) == []
    for call in (lambda: uploads.add_part(upload.id, [b"x"]), lambda: uploads.complete(upload.id, [parts[0].id])):
        with pytest.raises(Conflict, match="is cancelled"):
            call()
    assert blobs_of(uploads) == []


def test_after_an_hour_it_is_over(uploads, begun):
    upload, _ = begun
    assert uploads.expire() == 0
    with uploads.engine.begin() as connection:
        connection.execute(update(UPLOADS).values(expires_at=1.0))
    assert uploads.get(upload.id).state == "expired"
    with pytest.raises(Conflict, match="is expired"):
        uploads.add_part(upload.id, [b"x"])
    assert uploads.expire() == 1
    assert uploads.expire() == 0
    assert uploads.get(upload.id).state == "expired"
    assert blobs_of(uploads) == []


@pytest.mark.parametrize(
    "given",
    [{"size_bytes": 0}, {"size_bytes": LARGEST_BYTES + 1}, {"purpose": "fine-tune-results"}, {"mime_type": "text"}, {"mime_type": "a/b\n"}],
)
def test_wrong_announcements(uploads, given):
    with pytest.raises(InputError):
        uploads.create(**{"filename": "t", "purpose": "fine-tune", "size_bytes": 5, "mime_type": "text/jsonl"} | given)


def test_sizes_are_bounded(uploads, monkeypatch):
    monkeypatch.setattr("luthier.app.uploads.LARGEST_PART_BYTES", 100)
    upload = uploads.create("t", "user_data", 50, "text/plain")
    with pytest.raises(InputError, match="a part has at most 100 bytes"):
        uploads.add_part(upload.id, [b"x" * 60, b"x" * 60])
    with pytest.raises(InputError, match="the part is empty"):
        uploads.add_part(upload.id, [])
    uploads.add_part(upload.id, [b"x" * 100])
    uploads.add_part(upload.id, [b"x" * 100])
    with pytest.raises(InputError, match="far more"):
        uploads.add_part(upload.id, [b"x"])
    assert len(blobs_of(uploads)) == 2


def test_parts_count_for_the_quota(uploads):
    with uploads.engine.begin() as connection:
        connection.execute(insert(WORKSPACES), [{"name": "default", "settings": {"storage_bytes": 1000}}])
    with pytest.raises(QuotaExceeded):
        uploads.create("t", "user_data", 1001, "text/plain")
    upload = uploads.create("t", "user_data", 900, "text/plain")
    part = uploads.add_part(upload.id, [b"x" * 900])
    with pytest.raises(QuotaExceeded):
        uploads.files.create("t", "user_data", [b"x" * 200])
    assert uploads.complete(upload.id, [part.id]).file.size_bytes == 900
    assert uploads.files.create("t", "user_data", [b"x" * 100])


def test_workspaces_do_not_see_each_other(uploads, begun):
    workspace = Workspace(uploads.workspace.root, "other")
    other = Uploads(workspace, Files(workspace))
    for call in (other.get, other.cancel, lambda one: other.complete(one, ["a"]), lambda one: other.add_part(one, [b"x"])):
        with pytest.raises(UnknownName):
            call(begun[0].id)
    assert uploads.get(begun[0].id).state == "pending"


def test_completed_twice_at_once_is_one_file(uploads, begun):
    upload, parts = begun
    gate, found = threading.Barrier(4), []

    def complete():
        gate.wait()
        found.append(uploads.complete(upload.id, [part.id for part in parts]).file.id)

    threads = [threading.Thread(target=complete) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(uploads.files.list().files) == 1
    assert len(blobs_of(uploads)) == 1


def test_a_cancel_while_the_parts_are_joined_wins(uploads, begun, monkeypatch):
    upload, parts = begun
    keep = uploads.files.keep

    def cancelled_first(*args, **kwargs):
        uploads.cancel(upload.id)
        return keep(*args, **kwargs)

    monkeypatch.setattr(uploads.files, "keep", cancelled_first)
    with pytest.raises(Conflict, match="is cancelled"):
        uploads.complete(upload.id, [part.id for part in parts])
    assert uploads.files.list().files == []
    assert blobs_of(uploads) == []
