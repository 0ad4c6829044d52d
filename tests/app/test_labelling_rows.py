"""The tables of labellings, on SQLite and PostgreSQL: rows once, a log in its order, nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from luthier.app.labelling_rows import LabellingInfo, LabellingRows, Message
from luthier.core.errors import Conflict, UnknownName
from luthier.labelling.log import Entry
from luthier.store.database import connect


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    return connect(f"sqlite:///{tmp_path / 'luthier.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url"))


def test_rows_and_labels_of_one_labelling_of_one_workspace(engine: Engine) -> None:
    rows, others = (LabellingRows(engine, name) for name in ("default", "blue"))
    info = LabellingInfo("mail", "spans", ["a"], "minilm", author="ann", created_at=5.0)
    rows.add(info)
    others.add(info)
    with pytest.raises(Conflict):
        rows.add(info)
    messages = [Message(f"{number:016d}", f"text 'ä' {number}", {"n": number}, "a.csv:1") for number in range(1200)]
    assert rows.add_messages("mail", messages) == 1200
    assert rows.add_messages("mail", [*messages[:3], Message("x", "new"), Message("x", "new")]) == 1
    found, last = rows.messages("mail")
    assert found == [*messages, Message("x", "new")]
    assert rows.messages("mail", last - 1) == ([Message("x", "new")], last)
    assert rows.messages("mail", last) == ([], last)
    before = rows.marks("mail")
    span = [{"start": 0, "end": 4, "label": "a"}]
    rows.append("mail", [Entry(0, "x", "ann", 1.5, "correct", span, {"value": span, "confidence": 0.5}), Entry(0, "x", "bob", 2.5, "skip")])
    rows.append("mail", [])
    first, second = rows.entries("mail")
    assert (first.value, first.suggested, first.at, second.value) == (span, {"value": span, "confidence": 0.5}, 1.5, None)
    rows.append("mail", [Entry(0, "x", "ann", 3.5, "undo", undoes=first.seq)])
    assert [entry.undoes for entry in rows.entries("mail")] == [0, 0, first.seq]
    assert [entry.undoes for entry in rows.entries("mail", second.seq)] == [first.seq]
    assert rows.marks("mail")[:2] == (1201, 3)
    assert rows.marks("mail") not in (before, LabellingRows(engine, "blue").marks("mail"))
    assert (others.messages("mail")[0], others.entries("mail"), others.get("mail")) == ([], [], info)
    rows.delete("mail")
    assert [found.list() for found in (rows, others)] == [[], [info]]
    with pytest.raises(UnknownName, match="'mail'"):
        rows.get("mail")
    rows.add(info)
    assert (rows.messages("mail"), rows.entries("mail")) == (([], 0), [])


def test_nothing_is_written_into_one_that_was_removed(engine: Engine) -> None:
    """It would be in the next labelling of that name."""
    rows = LabellingRows(engine, "default")
    with pytest.raises(UnknownName, match="removed"):
        rows.add_messages("gone", [Message("x", "new")])
    with pytest.raises(UnknownName, match="removed"):
        rows.append("gone", [Entry(0, "x", "ann", 1.5, "skip")])
    assert (rows.messages("gone"), rows.entries("gone")) == (([], 0), [])
