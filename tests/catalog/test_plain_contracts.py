"""Made clauses: the same each time, no two alike, and summaries that hold nothing that their clause does not."""

from __future__ import annotations

from itertools import islice

from luthier.catalog import made, plain_contracts
from luthier.core.types import Place
from luthier.metrics._texts import Pair
from luthier.metrics.faithfulness import _measured
from luthier.tasks.summarization import plugin as summarization


def test_the_same_rows_each_time_and_a_longer_set_begins_with_the_shorter() -> None:
    some = list(made.make("plain-contracts", 40, 7))
    assert list(islice(made.make("plain-contracts", 90, 7), 40)) == some
    assert list(made.make("plain-contracts", 40, 8)) != some


def test_clauses_differ_and_are_longer_than_their_summaries() -> None:
    rows = list(made.make("plain-contracts", 3000, 7))
    assert len({row["text"] for row in rows}) == 3000
    assert {row["kind"] for row in rows} == set(plain_contracts.kinds())
    for number, row in enumerate(rows):
        assert "{" not in row["text"] + row["summary"]
        assert summarization.example(row, Place("made", number)).target == row["summary"]


def test_summaries_name_no_number_and_no_party_that_the_clause_does_not() -> None:
    for row in made.make("plain-contracts", 1500, 3):
        found = _measured(Pair(0, "", row["summary"], row["text"]))
        assert not found["invented_numbers"], row
        assert not found["invented_names"], row
