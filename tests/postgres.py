"""A private PostgreSQL, made in a temporary folder and reached by a Unix socket: nothing of the machine's own server is touched.

As a fixture (``tests/conftest.py`` names both): ``postgres_url`` is an empty database of a test's own. In a script::

    with Cluster() as cluster:
        url = cluster.database("chaos")
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import pytest

USER = "luthier"
SETTINGS = "fsync=off full_page_writes=off max_connections=200 shared_buffers=64MB listen_addresses=''"
"""A database for tests: it may be lost with the machine (a killed server loses nothing), and only this machine reaches it."""


class Missing(RuntimeError):
    """There is no PostgreSQL here; says why."""


def binaries() -> Path:
    """The folder of the newest ``initdb`` and ``pg_ctl``; raises ``Missing``."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path and shutil.which("pg_ctl"):
        return Path(on_path).resolve().parent
    raise Missing("PostgreSQL is not installed: apt-get install -y postgresql")


class Cluster:
    """A server of one's own. PostgreSQL refuses to run as root: then it runs as the user ``postgres``."""

    def __init__(self) -> None:
        self.bin = binaries()
        if importlib.util.find_spec("psycopg") is None:
            raise Missing("the Python package psycopg is not installed: pip install 'psycopg[binary]'")
        if os.geteuid() == 0 and not (shutil.which("runuser") and _known("postgres")):
            raise Missing("this is root, and there is no user postgres to run the server as")
        # Not below pytest's folders: those are closed to other users, and a socket's path has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="luthier-pg-"))
        self.data = self.folder / "data"

    def __enter__(self) -> Cluster:
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        try:
            self._call("initdb", "-D", self.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
            options = " ".join(f"-c {setting}" for setting in [*SETTINGS.split(), f"unix_socket_directories={self.folder}"])
            self._call("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-t", "60", "-o", options, "start")
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self, how: str = "fast") -> None:
        """Ends the server (``immediate``: as a crash would); ``start`` brings it back."""
        self._call("pg_ctl", "-D", self.data, "-w", "-m", how, "stop", check=False)

    def start(self) -> None:
        """Starts it again with the options that it had."""
        options = (self.data / "postmaster.opts").read_text(encoding="utf-8").partition(" ")[2].strip()
        self._call("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-t", "60", "-o", options.replace('"', ""), "start")

    def url(self, database: str) -> str:
        """The address of a database, as ``LUTHIER_DATABASE`` takes it."""
        return f"postgresql+psycopg://{USER}@/{database}?host={self.folder}"

    def database(self, name: str = "") -> str:
        """Makes an empty database; its address."""
        import psycopg

        name = name or f"test_{secrets.token_hex(4)}"
        with psycopg.connect(host=str(self.folder), user=USER, dbname="postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def _call(self, program: str, *words: object, check: bool = True) -> None:
        command = [str(self.bin / program), *map(str, words)]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        # Into a file, not a pipe: the server inherits it, and a pipe would be open as long as it runs.
        with tempfile.TemporaryFile() as said:
            code = subprocess.run(command, stdout=said, stderr=said, cwd="/", timeout=120, check=False).returncode
            said.seek(0)
            if check and code:
                raise Missing(f"{program} failed: {said.read().decode(errors='replace')[-500:]}")


def _known(user: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


@contextmanager
def cluster_or_skip() -> Iterator[Cluster]:
    """A running cluster; skips the test with the reason where there can be none."""
    try:
        cluster = Cluster()
    except Missing as why:
        pytest.skip(str(why))
    with cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL of this test process."""
    with cluster_or_skip() as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres: Cluster) -> str:
    """The address of an empty PostgreSQL database that no other test sees."""
    return postgres.database()
