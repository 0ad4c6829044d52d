"""An environment for each major version of the official client: a folder with ``openai`` and what it needs, and nothing else.

Kept between runs below ``LUTHIER_TEST_CACHE`` (else ``~/.cache/luthier-tests``). A script sees that folder, its own and the standard
library, nothing else.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VERSIONS = ("1.109.1", "2.15.0", "3.54.0")
BESIDE = ("requests",)
"""What the scripts of Azure's guide import beside the client."""

ALONE = """
import os, runpy, sys
folder, script, *words = sys.argv[1:]
sys.path[:0] = [os.path.dirname(script), folder]
sys.argv = [script, *words]
runpy.run_path(script, run_name="__main__")
"""


class Unavailable(RuntimeError):
    """The environment cannot be made here; says why."""


def cache() -> Path:
    """Where environments are kept."""
    return Path(os.environ.get("LUTHIER_TEST_CACHE", "") or Path.home() / ".cache" / "luthier-tests")


def environment(version: str) -> Path:
    """The folder of a version, made when it is not there: whole or not at all. Raises ``Unavailable``."""
    folder = cache() / f"openai-{version}-py{sys.version_info.major}{sys.version_info.minor}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.with_suffix(".lock")):
            return folder if folder.is_dir() else _install(version, folder)
    except OSError as error:
        raise Unavailable(f"{folder}: {error}") from None


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Holds the file while the block runs; one process at a time."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(version: str, folder: Path) -> Path:
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".openai-{version}-"))
    try:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--retries",
            "2",
            "--target",
            str(aside),
            f"openai=={version}",
            *BESIDE,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise Unavailable(f"pip cannot install openai {version}: {(done.stderr.strip().splitlines() or ['no words'])[-1]}")
        aside.chmod(0o755)
        aside.rename(folder)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"pip could not install openai {version} in 300 s") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def run(version: str, script: Path, *words: str, timeout_s: float = 600, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a script under a version, in an empty folder of its own, with these environment variables and no others of ours."""
    command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", ALONE, str(environment(version)), str(script.resolve()), *words]
    own = {"PATH": os.environ.get("PATH", ""), "NO_PROXY": "*", "LC_ALL": "C.UTF-8"}
    with tempfile.TemporaryDirectory() as folder:
        cwd = variables.pop("cwd", folder)
        return subprocess.run(
            command, cwd=cwd, env={**own, "HOME": folder, **variables}, capture_output=True, text=True, timeout=timeout_s, check=False
        )
