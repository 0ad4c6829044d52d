"""Files are whole or not there: after a kill, on a full disk, and when somebody reads while another writes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import Damaged, NoSpace, UnsafeFile
from luthier.store import files, processes

HALF_A_FILE = """
import sys, time
from pathlib import Path
from luthier.store import files
with files.written_aside(Path(sys.argv[1])) as aside:
    with aside.open("w") as handle:
        handle.write("half of the new ")
        handle.flush()
        print("writing", flush=True)
        time.sleep(60)
"""
HALF_A_FOLDER = """
import sys, time
from pathlib import Path
from luthier.store import files
with files.folder_aside(Path(sys.argv[1])) as aside:
    files.write_text(aside / "one.txt", "one")
    (aside / "two.txt").write_text("half of tw")
    print("writing", flush=True)
    time.sleep(60)
"""
AGAIN_AND_AGAIN = """
import itertools, sys
from pathlib import Path
from luthier.store import files
for number in itertools.count():
    files.write_json(Path(sys.argv[1]), {"numbers": [number] * 50_000})
    if number == 2:
        print("writing", flush=True)
"""
TOO_MUCH = """
import sys
from pathlib import Path
from luthier.core.errors import NoSpace
from luthier.store import files
folder = Path(sys.argv[1])
limit = int(sys.argv[2])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
files.write_text(folder / "finished.txt", "finished")
for write in (
    lambda: files.write_bytes(folder / "big.bin", b"x" * 1_000_000),
    lambda: files.write_bytes(folder / "finished.txt", b"x" * 1_000_000),
):
    try:
        write()
    except NoSpace as error:
        print(error, "|", error.hint)
try:
    with files.folder_aside(folder / "model") as aside:
        (aside / "weights").write_bytes(b"x" * 1_000_000)
except NoSpace as error:
    print(error, "|", error.hint)
print(sorted(p.name for p in folder.iterdir()), (folder / "finished.txt").read_text())
"""


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs the code and has printed its first line."""
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    value = {"größe": [1, 2.5, None, True], "b": {"a": "\n😀"}}
    files.write_json(tmp_path / "new" / "folders" / "a.json", value)
    assert files.read_json(tmp_path / "new" / "folders" / "a.json") == value
    files.write_text(tmp_path / "a.txt", "Größe\n")
    assert (tmp_path / "a.txt").read_bytes() == "Größe\n".encode()
    files.write_bytes(tmp_path / "a.txt", b"\x00\xff")
    assert (tmp_path / "a.txt").read_bytes() == b"\x00\xff"
    assert names(tmp_path) == ["a.txt", "new"]


def test_json_is_for_people_too(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"b": "ü", "a": 1})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "b": "ü",\n  "a": 1\n}\n'


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with files.written_aside(path) as aside:
        aside.write_text("new")
        assert aside.parent == path.parent, "a rename must not cross file systems"
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        files.write_json(path, {"new": object()})
    with pytest.raises(TypeError), files.written_aside(path) as aside, aside.open("w") as handle:
        handle.writelines(["half", 5])  # type: ignore[list-item]
    assert files.read_json(path) == {"old": 1}
    assert names(tmp_path) == ["a.json"]


def test_a_killed_writer_leaves_the_old_file_and_its_remains_are_swept(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    process = started(HALF_A_FILE, path)
    assert files.sweep(tmp_path) == 0, "its writer lives"
    assert len(names(tmp_path)) == 2
    kill(process)
    assert path.read_text() == "old"
    assert files.sweep(tmp_path) == 1
    assert names(tmp_path) == ["a.txt"]
    assert files.sweep(tmp_path) == 0


def test_a_killed_writer_of_a_folder_leaves_no_folder(tmp_path: Path) -> None:
    process = started(HALF_A_FOLDER, tmp_path / "model")
    assert files.sweep(tmp_path) == 0
    kill(process)
    assert not (tmp_path / "model").exists()
    assert files.sweep(tmp_path) == 1
    assert names(tmp_path) == []


def test_killed_at_any_moment_the_file_is_one_of_those_written(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for wait_s in (0.0, 0.013, 0.029):
        process = started(AGAIN_AND_AGAIN, path)
        time.sleep(wait_s)
        kill(process)
        numbers = files.read_json(path)["numbers"]
        assert len(numbers) == 50_000
        assert len(set(numbers)) == 1
        files.sweep(tmp_path)
        assert names(tmp_path) == ["a.json"]


def test_a_reader_never_sees_a_half_written_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, [0] * 5000)
    ended = threading.Event()

    def write() -> None:
        for number in range(30):
            files.write_json(path, [number] * 5000)
        ended.set()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    reads = 0
    while not ended.is_set():
        found = files.read_json(path)
        assert (len(found), len(set(found))) == (5000, 1)
        reads += 1
    for writer in writers:
        writer.join()
    assert reads > 1
    assert names(tmp_path) == ["a.json"]


def _says_no_space(output: str, folder: Path) -> None:
    big, finished, model, state = output.splitlines()
    for line, name in ((big, "big.bin"), (finished, "finished.txt"), (model, "model")):
        assert line.startswith(f"{folder / name}: the disk is full | "), output
        assert "start the same command again" in line
    assert state == "['finished.txt'] finished", "nothing torn, and what was finished is kept"


def test_a_file_above_the_limit_is_no_space(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TOO_MUCH, str(tmp_path), "65536"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _says_no_space(done.stdout, tmp_path)


def test_a_full_disk_is_no_space(tmp_path: Path) -> None:
    """A disk of 64 kB that only the child process sees."""
    script = 'mount -t tmpfs -o size=64k tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1" 0'
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable, TOO_MUCH], capture_output=True, text=True
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("may not mount a disk")
    assert done.returncode == 0, done.stderr
    _says_no_space(done.stdout, tmp_path)


def test_other_errors_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.space_errors(tmp_path):
        (tmp_path / "none").read_text()
    with pytest.raises(NoSpace, match="inner"), files.space_errors(tmp_path):
        raise NoSpace("inner")


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}}', b"\xff\xfe", b'{"a": 1}'[:-1]])
def test_torn_json_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(Damaged, match=r"a\.json: not whole JSON"):
        files.read_json(tmp_path / "a.json")


def test_missing_json_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="the file is missing"):
        files.read_json(tmp_path / "a.json")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with files.folder_aside(tmp_path / "deep" / "model") as aside:
        files.write_text(aside / "inner" / "a.txt", "a")
        assert not (tmp_path / "deep" / "model").exists()
    assert (tmp_path / "deep" / "model" / "inner" / "a.txt").read_text() == "a"
    with pytest.raises(TypeError), files.folder_aside(tmp_path / "other") as aside:
        files.write_json(aside / "a.json", {"a": object()})
    assert names(tmp_path) == ["deep"]


def test_a_folder_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    files.write_text(tmp_path / "model" / "a.txt", "first")
    with pytest.raises(OSError), files.folder_aside(tmp_path / "model") as aside:
        files.write_text(aside / "a.txt", "second")
    assert (tmp_path / "model" / "a.txt").read_text() == "first"
    assert names(tmp_path) == ["model"]


def _aside(mark: Any, name: str) -> str:
    return f"{files.ASIDE}{mark}-0123abcd-{name}"


def test_sweeping_takes_only_what_writers_left(tmp_path: Path) -> None:
    for name in ("a.txt", "aside", ".hidden", f"b{files.ASIDE}1"):
        (tmp_path / name).touch()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    model = tmp_path / _aside(processes.mark()._replace(pid=dead.pid), "model")
    model.mkdir()
    (model / "weights").touch()
    (tmp_path / _aside(processes.mark()._replace(started=1), "a-number-that-came-again")).touch()
    parent = _aside(processes.mark()._replace(pid=os.getppid(), started=processes._started(os.getppid())), "b.txt")
    (tmp_path / parent).touch()
    assert files.sweep(tmp_path) == 2
    assert names(tmp_path) == sorted(["a.txt", "aside", ".hidden", f"b{files.ASIDE}1", parent])
    assert files.sweep(tmp_path / "none") == 0


@pytest.mark.parametrize("mark", ["000000000000-4194304-1", "4194304", "strange"])
def test_of_a_writer_on_another_machine_only_time_tells_whether_it_is_gone(tmp_path: Path, mark: str) -> None:
    """The folder is shared; the number of the writer is one that no process here has."""
    folder, old = tmp_path / _aside(mark, "model"), time.time() - files.UNKNOWN_S - 60
    files.write_text(folder / "weights", "half")
    for path in (folder / "weights", folder):
        assert files.sweep(tmp_path) == 0, "it may be at work"
        os.utime(path, (old, old))
    os.utime(folder, (time.time(), time.time()))
    os.utime(folder / "weights", (old, old))
    assert files.sweep(tmp_path) == 0
    os.utime(folder, (old, old))
    assert files.sweep(tmp_path) == 1


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    files.write_text(folder / "b.txt", "bbb")
    files.write_text(folder / "a" / "c.txt", "ccc")
    files.write_text(folder / "a" / "manifest.json", "{}")
    files.write_text(folder / "manifest.json", "{}")
    return folder


def test_a_manifest_lists_every_file_but_itself(model: Path) -> None:
    listed = files.manifest(model)
    assert list(listed) == ["a/c.txt", "a/manifest.json", "b.txt"]
    # printf bbb | sha256sum
    assert listed["b.txt"] == {"sha256": "3e744b9dc39389baf0c5a0660589b8402f3dbb49b89b3e75f2c9355852a3c677", "size_bytes": 3}
    assert files.check_manifest(model, listed) == ""


def test_a_changed_folder_is_noticed(model: Path) -> None:
    listed = files.manifest(model)
    (model / "b.txt").write_text("bbB")
    assert files.check_manifest(model, listed) == "b.txt was altered"
    (model / "b.txt").write_text("bb")
    assert files.check_manifest(model, listed) == "b.txt has 2 bytes instead of 3"
    (model / "b.txt").unlink()
    assert files.check_manifest(model, listed) == "b.txt is missing"
    (model / "b.txt").mkdir()
    assert files.check_manifest(model, listed) == "b.txt is missing"
    files.write_text(model / "a" / "c.txt", "ccC")
    assert files.check_manifest(model, listed) == "a/c.txt was altered"


@pytest.mark.parametrize("name", ["../b", "a/../../b", "/etc/passwd", "..", "link/passwd", "link"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to("/etc")
    with pytest.raises(UnsafeFile, match="leaves the folder") as caught:
        files.inside(folder, name)
    assert repr(name) in str(caught.value)


def test_a_folder_with_a_longer_name_is_not_inside(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UnsafeFile):
        files.inside(tmp_path / "model", "../model-other/a.txt")


@pytest.mark.parametrize(("name", "wanted"), [("a/b.txt", "a/b.txt"), ("a/../b.txt", "b.txt"), ("..b", "..b"), (".", "."), ("ü b", "ü b")])
def test_a_path_inside_the_folder_is_given(tmp_path: Path, name: str, wanted: str) -> None:
    assert files.inside(tmp_path, name) == (tmp_path / wanted).resolve()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.PT", "a.pth", "b.ckpt", "c.pkl", "d.pickle", "e.joblib"])
def test_weights_as_a_pickle_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").touch()
    files.refuse_pickles(tmp_path)
    (tmp_path / name).touch()
    with pytest.raises(UnsafeFile, match=name) as caught:
        files.refuse_pickles(tmp_path)
    assert isinstance(caught.value, PermissionError)
    assert "safetensors" in caught.value.hint
    (tmp_path / "model.safetensors").touch()
    files.refuse_pickles(tmp_path)


def test_a_path_with_a_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeFile, match="is no path"):
        files.inside(tmp_path, "a\0b")


def test_sweeping_leaves_what_this_process_is_writing(tmp_path: Path) -> None:
    """A server sweeps while another of its threads writes; a killed writer may have had this process's number."""
    (tmp_path / _aside(processes.mark(), "left-over")).touch()
    with files.written_aside(tmp_path / "a.txt") as file, files.folder_aside(tmp_path / "model") as folder:
        file.write_text("a")
        files.write_text(folder / "b.txt", "b")
        assert files.sweep(tmp_path) == 1
        assert file.exists()
        assert folder.exists()
    assert names(tmp_path) == ["a.txt", "model"]
    assert files.sweep(tmp_path) == 0
