"""Places before and after replacements."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from luthier.core.edits import Edit, after, applied, before

TEXT = "call 555-0100 or write to ann@example.com, Ann"
EDITS = [Edit(5, 13, "<PHONE_1>"), Edit(26, 41, "<EMAIL_1>")]


def test_places_move_with_the_text() -> None:
    done = applied(TEXT, EDITS)
    assert done == "call <PHONE_1> or write to <EMAIL_1>, Ann"
    for word in ("call", "write", "Ann"):
        start = TEXT.index(word)
        there = after(start, start + len(word), EDITS)
        assert done[slice(*there)] == word
        assert before(*there, EDITS) == (start, start + len(word))


def test_what_an_edit_touches_is_taken_in_whole() -> None:
    done = applied(TEXT, EDITS)
    assert done[slice(*after(9, 13, EDITS))] == "<PHONE_1>"
    assert done[slice(*after(5, 9, EDITS))] == "<PHONE_1>"
    assert done[slice(*after(0, 10, EDITS))] == "call <PHONE_1>"
    assert TEXT[slice(*before(6, 8, EDITS))] == "555-0100"


@example("aa", [(1, 1, "")])
@given(st.text("abc", max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6), st.text("xyz", max_size=8)), max_size=5))
def test_what_no_edit_touches_stays_the_same_text(text: str, wanted: list[tuple[int, int, str]]) -> None:
    edits: list[Edit] = []
    for start, size, new in sorted(wanted):
        if start + size <= len(text) and (not edits or start >= edits[-1].end):
            edits.append(Edit(start, start + size, new))
    done = applied(text, edits)
    for place in range(len(text)):
        if all(place < edit.start or place >= edit.end for edit in edits):
            start, end = after(place, place + 1, edits)
            assert done[start:end] == text[place]
            assert before(start, end, edits) == (place, place + 1)
