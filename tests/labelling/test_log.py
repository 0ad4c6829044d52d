"""What holds is read from a log that only grows."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from luthier.labelling.log import Entry, State


def log(*said: tuple[str, str, str, Any]) -> State:
    """Entries (row, author, verb, value), ten seconds apart; an undo's value is the seq that it takes back."""
    return State(
        Entry(seq, row, author, 10.0 * seq, verb, None if verb == "undo" else value, undoes=value if verb == "undo" else 0)  # type: ignore[arg-type]
        for seq, (row, author, verb, value) in enumerate(said, 1)
    )


def test_a_correction_is_a_new_row_and_the_last_one_stands() -> None:
    state = log(("1", "ann", "correct", "a"), ("1", "ann", "correct", "b"))
    assert state.agreed == {"1": "b"}
    assert [entry.value for entry in state.entries] == ["a", "b"]


def test_undo_brings_back_what_stood_before() -> None:
    said = [("1", "ann", "correct", "a"), ("1", "ann", "correct", "b"), ("1", "ann", "undo", 2)]
    state = log(*said)  # type: ignore[arg-type]
    assert state.agreed == {"1": "a"}
    last = state.last("ann")
    assert last is not None
    assert last.seq == 1
    state = log(*said, ("1", "ann", "undo", 1))  # type: ignore[arg-type]
    assert state.agreed == {}
    assert state.last("ann") is None


def test_nobody_takes_back_what_another_said() -> None:
    assert log(("1", "ann", "correct", "a")).last("bob") is None


def test_two_who_differ_agree_on_nothing_until_it_is_settled() -> None:
    said = [("1", "ann", "correct", "a"), ("1", "bob", "correct", "b")]
    assert log(*said).disputed == ["1"]
    assert log(*said).agreed == {}
    state = log(*said, ("1", "eve", "settle", "b"))
    assert (state.agreed, state.disputed) == ({"1": "b"}, [])
    assert log(*said, ("1", "eve", "correct", "b")).agreed == {"1": "b"}, "two of three"


def test_shared_rows_go_to_everybody_and_others_to_one() -> None:
    state = log(("1", "boss", "share", None), ("1", "ann", "correct", "a"), ("2", "ann", "correct", "a"), ("3", "ann", "skip", None))
    assert state.open_to("ann", ["1", "2", "3", "4"]) == ([], ["4"])
    assert state.open_to("bob", ["1", "2", "3", "4"]) == (["1"], ["3", "4"]), "what ann skipped another may know"


def test_pace_leaves_breaks_out_and_accepted_counts_answers_only() -> None:
    entries = [Entry(n, str(n), "ann", at, "correct", "a") for n, at in enumerate([0.0, 4.0, 9.0, 4000.0, 4006.0], 1)]
    assert State(entries).seconds_a_label("ann") == 5.0
    assert State(entries).accepted_share() is None
    shown = {"value": "a", "confidence": 0.5, "by": "linear"}
    assert (
        State([Entry(1, "1", "ann", 0, "accept", "a", shown), Entry(2, "2", "ann", 0, "correct", "b", shown)]).accepted_share("ann") == 0.5
    )


SAID = st.tuples(st.sampled_from("123"), st.sampled_from(["ann", "bob"]), st.sampled_from(["a", "b", None, "undo"]))


@given(st.lists(SAID, max_size=30))
def test_taking_everything_back_leaves_nothing(said: list[tuple[str, str, str | None]]) -> None:
    entries: list[Entry] = []

    def add(row: str, author: str, verb: Any, value: Any = None, undoes: int = 0) -> None:
        entries.append(Entry(len(entries) + 1, row, author, float(len(entries)), verb, value, undoes=undoes))

    for row, author, value in said:
        if value != "undo":
            add(row, author, "skip" if value is None else "correct", value)
        elif (last := State(entries).last(author)) is not None:
            add(last.row, author, "undo", undoes=last.seq)
    before = len(entries)
    for author in ("ann", "bob"):
        while (last := State(entries).last(author)) is not None:
            add(last.row, author, "undo", undoes=last.seq)
    state = State(entries)
    assert (state.agreed, state.by_row, state.disputed) == ({}, {}, [])
    assert len(entries) >= before, "nothing was taken out of the log"
