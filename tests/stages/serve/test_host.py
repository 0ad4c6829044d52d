"""The host of endpoints: one bad export harms no other, problems go when their cause goes, and failures are journaled."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from luthier.core.errors import UnknownName
from luthier.core.plan import PreparePlan
from luthier.stages.serve.host import Host
from luthier.store import files
from luthier.store.database import connect
from luthier.store.journal import Journal


def _info(name: str, folder: Path, export: str = "export-0") -> Any:
    return SimpleNamespace(name=name, task="text-classification", export_id=export, model_id="model-1", folder=folder)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(connect(f"sqlite:///{tmp_path / 'journal.db'}"))


@pytest.fixture
def hosting(journal: Journal) -> Iterator[Callable[..., tuple[Host, list[Any]]]]:
    """A host of these deployments, and the list of them to change."""
    opened: list[Host] = []

    def make(*infos: Any, **options: Any) -> tuple[Host, list[Any]]:
        wanted = list(infos)
        opened.append(Host(SimpleNamespace(list=lambda: list(wanted)), journal, workers=1, **options))
        return opened[-1], wanted

    yield make
    for host in opened:
        host.close()


@pytest.fixture
def torn(export_folder: Path, tmp_path: Path) -> Callable[[str, str], Path]:
    """A copy of the export in which one file has another text."""

    def make(name: str, text: str) -> Path:
        folder = tmp_path / f"torn-{name}"
        shutil.copytree(export_folder, folder)
        (folder / name).write_text(text)
        return folder

    return make


def test_a_deployment_that_is_taken_back_leaves_no_problem(hosting: Callable[..., Any], export_folder: Path, tmp_path: Path) -> None:
    host, wanted = hosting(_info("support", export_folder))
    wanted[:] = [_info("support", tmp_path / "nothing", "export-1")]
    host.refresh()
    assert not host.ready
    wanted[:] = [_info("support", export_folder)]
    host.refresh()
    assert host.problems == {}
    assert host.ready


def test_an_endpoint_that_never_opened_and_is_removed_leaves_no_problem(
    hosting: Callable[..., Any], export_folder: Path, tmp_path: Path
) -> None:
    host, wanted = hosting(_info("support", export_folder), _info("never", tmp_path / "nothing"))
    assert set(host.problems) == {"never"}
    with pytest.raises(UnknownName, match="cannot be served"):
        host.get("never")
    del wanted[1]
    host.refresh()
    assert host.problems == {}
    assert host.ready


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tokenizer.json", "{torn"),
        ("schema.json", '{"max_tokens": "many"}'),
        ("calibration.json", "{torn"),
        ("plan.json", '{"prepare": 3}'),
    ],
)
def test_whatever_is_wrong_with_one_export_the_others_are_served(
    hosting: Callable[..., Any], torn: Callable[[str, str], Path], export_folder: Path, exported: Any, name: str, text: str
) -> None:
    host, _ = hosting(_info("bad", torn(name, text)), _info("support", export_folder))
    assert set(host.problems) == {"bad"}
    assert host.problems["bad"]
    assert [hosted.info.name for hosted in host.all()] == ["support"]
    assert len(asyncio.run(host.predict("support", exported.messages(1)))) == 1


def test_a_problem_is_logged_once_and_not_every_second(
    hosting: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host, _ = hosting(_info("never", tmp_path / "nothing"))
    host.refresh()
    host.refresh()
    assert [record.message.split(":")[0] for record in caplog.records] == ["endpoint never cannot be opened"]


def test_listing_does_not_stumble_over_a_swap(hosting: Callable[..., Any], export_folder: Path) -> None:
    class Vanishing(dict[str, Any]):
        """What the look-up meets when the looker removes an endpoint just after its name was listed."""

        def __getitem__(self, name: str) -> Any:
            raise KeyError(name)

    host, _ = hosting(_info("support", export_folder))
    host._open = Vanishing(host._open)
    assert [hosted.info.name for hosted in host.all()] == ["support"]
    host._open = dict(host._open.items())


def test_a_failure_is_journaled_by_its_kind_only(hosting: Callable[..., Any], export_folder: Path, exported: Any, journal: Journal) -> None:
    host, _ = hosting(_info("support", export_folder))

    def fail(batch: Any) -> Any:
        raise RuntimeError("secret text of a customer")

    host.get("support").endpoint._session = SimpleNamespace(run=fail)
    with pytest.raises(RuntimeError):
        asyncio.run(host.predict("support", exported.messages(1)))
    host.close()
    (entry,) = journal.all(about="support")
    assert (entry.name, entry.body["code"], entry.body["message"]) == ("prediction.failed", "error", "RuntimeError")


def test_kept_texts_are_masked_by_the_plan_of_their_own_export(
    hosting: Callable[..., Any], torn: Callable[[str, str], Path], export_folder: Path, journal: Journal
) -> None:
    folder = torn("plan.json", "{}")
    files.write_json(folder / "plan.json", {"prepare": PreparePlan(mask=False, mask_patterns={"BADGE": r"badge \w+"}).model_dump()})
    host, _ = hosting(_info("shop", export_folder), _info("door", folder), keep_text=True)
    text = "badge B7 of ann@example.com for ORD-12345"
    for name in ("shop", "door"):
        task = host.get(name).endpoint.task
        asyncio.run(host.predict(name, task.request({"text": text})))
    host.close()
    kept = {entry.subject: entry.body["text"] for entry in journal.all(names=("prediction.answered",))}
    assert kept == {"shop": "badge B7 of <EMAIL_1> for <ORDER_NUMBER_1>", "door": "<BADGE_1> of <EMAIL_1> for ORD-12345"}
