"""Blobs on the disk, in Azure (Azurite) and in S3 (moto): whole or not at all, streamed, and named by us."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from luthier.core.errors import Damaged, InputError, MissingExtra, NoSpace, Overloaded, QuotaExceeded
from luthier.store.blobs import Blobs
from luthier.store.workspace import Workspace

LOCAL = Path(__file__).parents[2] / "node_modules" / ".bin"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def wait_for(port: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens at {port}")


@pytest.fixture(scope="module")
def s3() -> Iterator[dict]:
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=(port := free_port()))
    server.start()
    options = {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{port}"}}
    import s3fs

    s3fs.S3FileSystem(**options).mkdir("bucket")  # a region of its own it must not name: S3 refuses "us-east-1" there
    yield options
    server.stop()


def _azurite() -> list[str]:
    """The command that starts Azurite; skips the test where npm never brought it."""
    found = os.environ.get("AZURITE", "") or shutil.which("azurite-blob", path=f"{LOCAL}{os.pathsep}{os.environ.get('PATH', '')}") or ""
    if not found:
        pytest.skip("no azurite-blob (npm install -g azurite, or AZURITE=/path/to/azurite-blob)")
    return [found]


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    pytest.importorskip("adlfs")
    port, command = free_port(), _azurite()
    folder = tmp_path_factory.mktemp("azurite")
    options = ["--blobPort", str(port), "--blobHost", "127.0.0.1", "-l", str(folder), "--skipApiVersionCheck", "--silent"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        account = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={AZURITE_KEY};"
        connection = f"{account}BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
        import adlfs

        adlfs.AzureBlobFileSystem(connection_string=connection).mkdir("container")
        yield {"connection_string": connection}
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(params=["disk", "s3", "azure"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "disk":
        return Blobs(tmp_path / "blobs", tmp_path / "cache")
    options = request.getfixturevalue(request.param)
    url = {"s3": "s3://bucket/luthier", "azure": "abfs://container/luthier"}[request.param]
    return Blobs(url, tmp_path / "cache", **options)


def names(blobs: Blobs) -> list[str]:
    """Every file below the blobs' folders."""
    return [path.name for root in (blobs.root, blobs.cache) for path in root.rglob("*") if path.is_file()]


def test_what_was_put_is_there_until_it_is_deleted(blobs: Blobs) -> None:
    data = os.urandom(3_000_000)
    stored = blobs.put([data[:1_000_001], data[1_000_001:]], ".jsonl")
    assert stored.name.endswith(".jsonl")
    assert (stored.size_bytes, stored.sha256, stored.md5) == (3_000_000, hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest())
    assert b"".join(blobs.chunks(stored.name)) == data
    assert blobs.size(stored.name) == 3_000_000
    with blobs.open(stored.name) as handle:
        handle.seek(2_999_990)
        assert handle.read() == data[-10:]
    assert blobs.local(stored.name).read_bytes() == data
    assert blobs.local(stored.name).suffix == ".jsonl"
    blobs.delete(stored.name)
    blobs.delete(stored.name)
    for asked in (blobs.chunks, blobs.size, blobs.local):
        with pytest.raises(Damaged, match="is gone"):
            asked(stored.name)
    assert names(blobs) == []


def test_parts_are_joined_in_their_order(blobs: Blobs) -> None:
    parts = [blobs.put([text]).name for text in (b"one ", b"two ", b"three")]
    whole = blobs.put(blobs.joined(parts))
    assert b"".join(blobs.chunks(whole.name)) == b"one two three"


def test_what_breaks_off_leaves_nothing(blobs: Blobs) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 2_000_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        blobs.put(broken())
    assert names(blobs) == []


def test_admission_is_asked_before_each_write(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")

    def admit(size: int) -> None:
        if size > 10:
            raise QuotaExceeded("too much")

    with blobs.incoming(admit) as coming:
        coming.write(b"1234567890")
        with pytest.raises(QuotaExceeded):
            coming.write(b"1")
    assert names(blobs) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of a file stands for the disk: the kernel refuses the write the same way."""
    blobs = Blobs(tmp_path / "blobs")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(NoSpace, match="the disk is full"):
            blobs.put([b"x" * 300_000] * 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(blobs) == []


def test_abandoned_writes_are_swept_and_living_ones_left(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    old = tmp_path / "blobs" / "incoming" / "0123"
    with blobs.incoming() as coming:
        old.write_bytes(b"half")
        os.utime(old, (0, 0))
        assert blobs.sweep() == 1
        coming.write(b"whole")
        assert b"".join(blobs.chunks(blobs.keep(coming).name)) == b"whole"
    assert not old.exists()


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "a", "0" * 31, "0" * 32 + "/../x", "0" * 32 + ".", "0" * 32 + "\0"])
def test_only_our_names_are_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="names no blob"):
        Blobs(tmp_path).open(name)


def test_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ftp:// is no address"):
        Blobs("ftp://host/x")
    assert Blobs(f"file://{tmp_path}").put([b"a"]).size_bytes == 1
    home = Workspace(tmp_path / "home", "team")
    assert home.blobs.root == tmp_path / "home" / "blobs"
    monkeypatch.setenv("LUTHIER_BLOBS", "s3://bucket/prefix")
    assert Workspace(tmp_path / "home").blobs.scheme == "s3"


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(MissingExtra, match="s3fs is not installed"):
        Blobs("s3://bucket/x", tmp_path).open("0" * 32)


def test_a_store_that_does_not_answer_is_no_defect(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    options = {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1"}
    blobs = Blobs("s3://bucket/x", tmp_path, key="k", secret="s", client_kwargs=options, config_kwargs={"retries": {"max_attempts": 0}})
    with pytest.raises(Overloaded, match="does not answer"):
        blobs.put([b"a"])
    assert names(blobs) == []
