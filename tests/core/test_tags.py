"""Tags and the spans they mean: there and back, and as seqeval reads them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.tags import SCHEMES, Run, Scheme, entities_of, may_follow, runs_in, runs_of, tag_names, tags_of

KINDS = ("city", "date")


@st.composite
def _runs(draw: st.DrawFn) -> tuple[int, list[Run]]:
    words, found, at = draw(st.integers(1, 12)), [], 0
    while at < words:
        size = draw(st.integers(0, 3))
        if size and at + size <= words:
            found.append(Run(at, at + size - 1, draw(st.sampled_from(KINDS))))
        at += size or 1
    return words, found


@pytest.mark.parametrize("scheme", SCHEMES)
@given(made=_runs())
def test_there_and_back(scheme: Scheme, made: tuple[int, list[Run]]) -> None:
    words, runs = made
    tags = tags_of(runs, words, scheme)
    assert set(tags) <= set(tag_names(KINDS, scheme))
    assert all(may_follow(left, right) for left, right in zip(["", *tags], tags, strict=False))
    assert runs_of(tags) == runs


@settings(deadline=None)  # the first call imports seqeval
@given(st.lists(st.sampled_from(tag_names(KINDS, "BIO")), max_size=12))
def test_any_bio_tags_are_read_as_seqeval_reads_them(tags: list[str]) -> None:
    from seqeval.metrics.sequence_labeling import get_entities

    assert [(kind, first, last) for first, last, kind in runs_of(tags)] == get_entities(tags)


def test_spans_in_characters() -> None:
    places = [(0, 5), (6, 9), (9, 10), (11, 15)]
    assert runs_in([{"start": 6, "end": 10, "label": "city"}], places) == [Run(1, 2, "city")]
    assert entities_of([Run(1, 2, "city")], places) == [{"start": 6, "end": 10, "label": "city"}]
    overlapping = [{"start": 0, "end": 8, "label": "city"}, {"start": 8, "end": 15, "label": "date"}]
    assert runs_in(overlapping, places) == [Run(0, 1, "city"), Run(2, 3, "date")]


def test_a_span_may_not_go_on_as_another_kind() -> None:
    assert not may_follow("B-city", "I-date")
    assert not may_follow("", "I-city")
    assert not may_follow("U-city", "L-city")
    assert may_follow("I-city", "L-city")
