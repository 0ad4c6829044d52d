"""Artifacts: named by content, carrying their parents, found by id, name or work, and noticed when they were changed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import Damaged, UnknownName, UnsafeFile
from luthier.core.types import Artifact
from luthier.store import files
from luthier.store.artifacts import Artifacts


@pytest.fixture
def store(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def add(store: Artifacts, content: dict[str, str], kind: str = "model", **facts: Any) -> Artifact:
    """An artifact made of these files."""
    folder = store.root.parent / "work" / str(time.monotonic_ns())
    folder.mkdir(parents=True)
    for name, text in content.items():
        files.write_text(folder / name, text)
    return store.add(folder, kind, **facts)


def test_an_artifact_is_the_finished_folder_and_its_manifest(store: Artifacts) -> None:
    before = time.time()
    made = add(store, {"a.txt": "aaa", "deep/b.txt": "bb"}, name="reviews", key="k", summary={"rows": 3}, plan={"name": "reviews"})
    assert re.fullmatch(r"model-[0-9a-f]{16}", made.id)
    assert (made.kind, made.name, made.parents, made.size_bytes) == ("model", "reviews", (), 5)
    assert before <= made.created_at <= time.time()
    assert (Path(made.path) / "deep" / "b.txt").read_text() == "bb"
    assert not any((store.root.parent / "work").iterdir()), "the folder was moved"
    manifest = store.manifest(made.id)
    assert manifest["summary"] == {"rows": 3}
    assert manifest["plan"] == {"name": "reviews"}
    assert manifest["key"] == "k"
    assert set(manifest["files"]) == {"a.txt", "deep/b.txt"}
    assert Artifacts(store.root).get(made.id) == made, "another process sees the same"


def test_the_same_content_has_the_same_id_anywhere(store: Artifacts, tmp_path: Path) -> None:
    first = add(store, {"a.txt": "aaa"}, name="one", summary={"seconds": 1.0})
    other = add(Artifacts(tmp_path / "elsewhere" / "artifacts"), {"a.txt": "aaa"}, name="two", summary={"seconds": 2.0})
    assert other.id == first.id


def test_the_same_content_is_kept_once(store: Artifacts) -> None:
    first = add(store, {"a.txt": "aaa"}, name="one")
    assert add(store, {"a.txt": "aaa"}, name="one") == first
    assert store.all() == [first]


@pytest.mark.parametrize(
    ("content", "kind", "parents"),
    [
        ({"a.txt": "aab"}, "model", ()),
        ({"b.txt": "aaa"}, "model", ()),
        ({"a.txt": "aaa", "b.txt": ""}, "model", ()),
        ({"a.txt": "aaa"}, "export", ()),
        ({"a.txt": "aaa"}, "model", ("dataset-1",)),
    ],
)
def test_other_content_kind_or_parents_are_another_artifact(
    store: Artifacts, content: dict[str, str], kind: str, parents: tuple[str, ...]
) -> None:
    first = add(store, {"a.txt": "aaa"})
    other = add(store, content, kind, parents=parents)
    assert other.id.removeprefix(f"{kind}-") != first.id.removeprefix("model-")
    assert len(store.all()) == 2


def test_a_left_over_manifest_of_a_killed_try_is_not_content(store: Artifacts) -> None:
    """A kill between the manifest and the rename leaves the manifest in the work folder; the next try makes the same artifact."""
    first = add(store, {"a.txt": "aaa"})
    again = add(store, {"a.txt": "aaa", "manifest.json": '{"half": '})
    assert again.id == first.id
    other = add(store, {"a.txt": "other", "manifest.json": '{"half": '})
    assert store.manifest(other.id)["kind"] == "model"


@pytest.mark.parametrize("change", ["altered", "instead of 3", "missing"])
def test_a_changed_file_is_noticed(store: Artifacts, change: str) -> None:
    made = add(store, {"a.txt": "aaa", "b.txt": "bbb"}, name="reviews")
    store.check(made.id)
    path = Path(made.path) / "b.txt"
    if change == "missing":
        path.unlink()
    else:
        path.write_text("bbB" if change == "altered" else "bb")
    for name in (made.id, "reviews"):
        with pytest.raises(Damaged, match=rf"b\.txt .*{change}") as caught:
            store.check(name)
        assert made.id in str(caught.value)
        assert "run the same recipe again" in caught.value.hint


def test_the_newest_of_a_name_is_given(store: Artifacts) -> None:
    for number in range(3):
        newest = add(store, {"a.txt": str(number)}, name="reviews")
        add(store, {"a.txt": str(number)}, name="other")
    dataset = add(store, {"d.txt": "d"}, "dataset", name="reviews")
    assert store.get("reviews", "model") == newest
    assert store.get("reviews", "dataset") == dataset
    assert store.get("reviews") == dataset
    assert store.get(newest.id) == newest
    assert store.get(newest.id, "model") == newest


def test_everything_is_listed_oldest_first_and_by_kind(store: Artifacts) -> None:
    assert store.all() == []
    made = [add(store, {"a.txt": str(n)}, kind) for n, kind in enumerate(["model", "dataset", "model", "export"])]
    assert store.all() == made
    assert store.all("model") == [made[0], made[2]]
    assert store.all("evaluation") == []


def test_what_is_not_a_whole_artifact_is_not_listed(store: Artifacts) -> None:
    made = add(store, {"a.txt": "aaa"})
    files.write_text(store.root / "strange" / "a.txt", "no manifest")
    files.write_text(store.root / f"{files.ASIDE}1-x-model" / "manifest.json", "{")
    (store.root / "file.txt").touch()
    assert store.all() == [made]


def test_a_name_that_is_near_is_offered(store: Artifacts) -> None:
    made = add(store, {"a.txt": "aaa"}, name="support-intents")
    with pytest.raises(UnknownName) as caught:
        store.get("suport-intents")
    assert str(caught.value) == "unknown artifact 'suport-intents'"
    assert "did you mean 'support-intents'" in caught.value.hint
    with pytest.raises(UnknownName) as caught:
        store.get(made.id[:-1] + "x", "model")
    assert str(caught.value) == f"unknown model '{made.id[:-1]}x'"
    assert repr(made.id) in caught.value.hint


def test_an_artifact_of_another_kind_is_not_given(store: Artifacts) -> None:
    made = add(store, {"a.txt": "aaa"}, "model", name="reviews")
    for name in (made.id, "reviews"):
        with pytest.raises(UnknownName, match="unknown dataset") as caught:
            store.get(name, "dataset")
        assert caught.value.hint == "there is no dataset yet"


@pytest.mark.parametrize("name", ["../work", "/etc", "../../etc/passwd"])
def test_a_name_that_leaves_the_store_is_refused(store: Artifacts, name: str) -> None:
    with pytest.raises(UnsafeFile):
        store.get(name)


def test_work_that_was_done_is_found_by_its_key(store: Artifacts) -> None:
    made = add(store, {"a.txt": "aaa"}, key="k1")
    other = add(store, {"a.txt": "bbb"}, key="k2")
    assert store.by_key("k1") == made
    assert store.by_key("k2") == other
    assert store.by_key("k3") is None


def test_work_whose_artifact_is_damaged_counts_as_not_done(store: Artifacts) -> None:
    damaged = add(store, {"a.txt": "aaa"}, key="k")
    (Path(damaged.path) / "a.txt").write_text("aaA")
    assert store.by_key("k") is None
    whole = add(store, {"a.txt": "done again, with another result"}, key="k")
    assert store.by_key("k") == whole


def test_lineage_goes_back_to_the_rows_and_names_each_once(store: Artifacts) -> None:
    dataset = add(store, {"d": "d"}, "dataset", name="reviews")
    model = add(store, {"m": "m"}, "model", parents=(dataset.id,), name="reviews")
    report = add(store, {"e": "e"}, "evaluation", parents=(dataset.id, model.id))
    export = add(store, {"x": "x"}, "export", parents=(dataset.id, model.id, report.id))
    assert [a.id for a in store.lineage(export.id)] == [export.id, dataset.id, model.id, report.id]
    assert [a.id for a in store.lineage(model.id)] == [model.id, dataset.id]
    assert [a.id for a in store.lineage(dataset.id)] == [dataset.id]
    assert export.parents == (dataset.id, model.id, report.id)


def test_a_lost_parent_is_named(store: Artifacts) -> None:
    model = add(store, {"m": "m"}, "model", parents=("dataset-0123456789abcdef",))
    with pytest.raises(UnknownName, match="dataset-0123456789abcdef"):
        list(store.lineage(model.id))


ADDS = """
import itertools, sys
from pathlib import Path
from luthier.store import files
from luthier.store.artifacts import Artifacts
root = Path(sys.argv[1])
store = Artifacts(root / "artifacts")
for number in itertools.count():
    for name in "abcdefgh":
        files.write_text(root / "work" / str(number) / f"{name}.txt", f"{name}{number}")
    store.add(root / "work" / str(number), "model", name=str(number))
    if number == 2:
        print("adding", flush=True)
"""


def test_killed_while_adding_every_artifact_is_whole(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ADDS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "adding\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    store = Artifacts(tmp_path / "artifacts")
    made = store.all()
    assert len(made) >= 3
    assert len(list(store.root.iterdir())) == len(made)
    for artifact in made:
        store.check(artifact.id)
        assert len(store.manifest(artifact.id)["files"]) == 8


@pytest.mark.parametrize("damage", ["altered", "lost", "torn manifest", "no manifest", "strange manifest"])
def test_doing_damaged_work_again_repairs_it(store: Artifacts, damage: str) -> None:
    made = add(store, {"a.txt": "aaa", "b.txt": "bbb"}, name="reviews", key="k")
    folder = Path(made.path)
    if damage == "altered":
        (folder / "a.txt").write_text("aaA")
    elif damage == "lost":
        (folder / "a.txt").unlink()
    elif damage == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        (folder / "manifest.json").write_text('{"id": ' if damage == "torn manifest" else "[1]")
    assert store.by_key("k") is None
    again = add(store, {"a.txt": "aaa", "b.txt": "bbb"}, name="reviews", key="k")
    assert again.id == made.id
    store.check(made.id)
    assert store.by_key("k") == again
    assert [path.name for path in store.root.iterdir()] == [made.id]


def test_the_same_content_is_found_by_every_name_and_key_it_was_made_under(store: Artifacts) -> None:
    first = add(store, {"a.txt": "aaa"}, name="one", key="k1")
    assert add(store, {"a.txt": "aaa"}, name="two", key="k2") == first
    assert add(store, {"a.txt": "aaa"}, name="two", key="k2") == first
    assert [store.by_key(key) for key in ("k1", "k2", "k3")] == [first, first, None]
    assert store.get("one") == store.get("two") == first
    manifest = store.manifest("two")
    assert (manifest["names"], manifest["keys"]) == (["one", "two"], ["k1", "k2"])
    assert (manifest["name"], manifest["key"]) == ("one", "k1")
    store.check("two")
    with pytest.raises(UnknownName) as caught:
        store.get("twoo")
    assert "'two'" in caught.value.hint


def test_a_manifest_of_an_earlier_version_knows_one_name_and_key(store: Artifacts) -> None:
    made = add(store, {"a.txt": "aaa"}, name="one", key="k1")
    manifest = store.manifest(made.id)
    del manifest["names"], manifest["keys"]
    files.write_json(Path(made.path) / "manifest.json", manifest)
    assert store.get("one") == store.by_key("k1") == made
    add(store, {"a.txt": "aaa"}, name="two", key="k2")
    assert store.get("one") == store.get("two") == store.by_key("k1") == store.by_key("k2") == made


@pytest.mark.parametrize("content", ["{", "", "[]", "5", "{}", '{"id": 1, "files": []}'])
def test_an_unreadable_manifest_hides_no_other_artifact(store: Artifacts, content: str) -> None:
    damaged = add(store, {"a.txt": "aaa"}, name="reviews", key="k1")
    whole = add(store, {"a.txt": "bbb"}, name="reviews", key="k2")
    (Path(damaged.path) / "manifest.json").write_text(content)
    (store.root / "strange" / "manifest.json").mkdir(parents=True)
    assert store.all() == [whole]
    assert store.get("reviews") == store.by_key("k2") == whole
    assert store.by_key("k1") is None
    for ask in (store.get, store.manifest, store.check):
        with pytest.raises(Damaged, match=damaged.id):
            ask(damaged.id)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "a\0b", "", "\ud83d", "."])
def test_what_cannot_be_a_name_is_an_unknown_name(store: Artifacts, name: str) -> None:
    add(store, {"a.txt": "aaa"})
    with pytest.raises(UnknownName, match="unknown artifact"):
        store.get(name)


def test_writers_of_the_same_content_may_meet(store: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen that it is not there; the one that comes second is given what the first made, and loses nothing."""
    meeting = threading.Barrier(2)
    sync_tree = files.sync_tree

    def together(folder: Path) -> None:
        sync_tree(folder)
        meeting.wait(10)

    monkeypatch.setattr(files, "sync_tree", together)
    made: list[Artifact] = []
    writers = [threading.Thread(target=lambda n=n: made.append(add(store, {"a.txt": "aaa"}, name=f"name {n}"))) for n in range(2)]  # type: ignore[misc]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(made) == 2
    assert made[0] == made[1]
    assert store.all() == [made[0]]
    store.check(made[0].id)


def test_files_and_folders_are_on_the_disk_before_they_have_their_name(store: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    sync_folder, rename = files.sync_folder, Path.rename
    monkeypatch.setattr(files, "sync_folder", lambda folder: (seen.append(folder.name), sync_folder(folder)))
    monkeypatch.setattr(Path, "rename", lambda self, target: (seen.append("renamed"), rename(self, target)))
    made = add(store, {"a.txt": "a", "deep/deeper/b.txt": "b"})
    store.check(made.id)
    before = seen[: seen.index("renamed")]
    assert {"deep", "deeper"} <= set(before)
    assert before.index("deeper") < len(before) - 1 - before[::-1].index("deep")
