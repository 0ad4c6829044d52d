"""Spans are suggested from phrases that were marked before."""

from __future__ import annotations

from luthier.labelling.phrases import Phrases, said


def test_a_phrase_is_marked_again_where_it_usually_was() -> None:
    texts = ["fly to New York", "New York please", "a new car"]
    spans = [[{"start": 7, "end": 15, "label": "city"}], [{"start": 0, "end": 8, "label": "city"}], []]
    found = Phrases(texts, spans).suggest("is it raining in new york or in York?")
    assert found.spans == [{"start": 17, "end": 25, "label": "city"}]
    assert found.confidence == 1.0
    assert said("is it raining in new york", found.spans) == "new york [city]"


def test_a_word_that_is_rarely_marked_is_not_suggested() -> None:
    texts = ["may I", "may we", "may you", "in may"]
    phrases = Phrases(texts, [[], [], [], [{"start": 3, "end": 6, "label": "month"}]])
    assert phrases.suggest("may they").spans == []
    assert phrases.suggest("nothing").confidence == 0.5
    assert Phrases([], []).suggest("anything") == ([], 0.0)


def test_spans_inside_a_word_teach_nothing_and_do_not_fail() -> None:
    assert Phrases(["abcdef"], [[{"start": 1, "end": 3, "label": "x"}]]).suggest("bc").spans == []
