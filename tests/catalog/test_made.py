"""The made messages: the same everywhere, entities where they say, many intents, few near-duplicates, fast."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from itertools import islice

import pytest

from luthier.catalog import made
from luthier.catalog.support_messages import intents
from luthier.core.errors import InputError, UnknownName
from luthier.core.types import canonical_json

ROWS = list(made.make("support-messages", 2400, 7))


def test_same_seed_same_rows_on_any_machine() -> None:
    """The digest was taken when the phrases were last changed; whoever changes them takes it again (and says so in the changelog)."""
    digest = hashlib.sha256("\n".join(map(canonical_json, ROWS)).encode()).hexdigest()
    assert digest[:16] == "4346e4554eb66386"


def test_a_longer_set_begins_with_the_shorter_one() -> None:
    assert list(made.make("support-messages", 50, 7)) == ROWS[:50]
    assert list(made.make("support-messages", 50, 8)) != ROWS[:50]
    assert list(islice(made.make("support-messages"), 50)) == ROWS[:50]
    assert len(list(made.make("support-messages"))) == made.ROWS


def test_entities_stand_where_they_say() -> None:
    kinds = Counter()
    for row in ROWS:
        for entity in row["entities"]:
            assert row["text"][entity["start"] : entity["end"]] == entity["text"]
            assert entity["text"].strip() == entity["text"] != ""
            kinds[entity["kind"]] += 1
    assert {"order_number", "product", "date", "amount", "city", "person", "email", "phone", "card", "iban", "ip", "address"} <= set(kinds)
    assert min(kinds.values()) >= 10


def test_intents_and_parts() -> None:
    labels = Counter(row["label"] for row in ROWS)
    assert set(labels) == set(intents())
    assert 16 <= len(labels) <= 20
    assert min(labels.values()) > 60
    assert all(row["label"] == row["intents"][0] for row in ROWS)
    two = sum(len(row["intents"]) == 2 for row in ROWS) / len(ROWS)
    assert 0.12 < two < 0.20


def test_questions_have_none_to_three_requests_and_say_where_they_stand() -> None:
    rows = list(made.make("support-questions", 800, 7))
    sizes = Counter(len(row["intents"]) for row in rows)
    assert set(sizes) == {0, 1, 2, 3}
    assert min(sizes.values()) > 50
    for row in rows:
        assert [ask["label"] for ask in row["asks"]] == row["intents"]
        assert len(set(row["intents"])) == len(row["intents"])
        assert all(left["end"] <= right["start"] for left, right in zip(row["asks"], row["asks"][1:], strict=False))
        assert all(row["text"][ask["start"] : ask["end"]].strip() for ask in row["asks"])
        assert not (row["label"] == "out_of_scope" and row["intents"])


def test_conversations_and_channels() -> None:
    turns = Counter(row["conversation_id"] for row in ROWS)
    assert set(turns.values()) == {1, 2, 3, 4}
    assert {row["channel"] for row in ROWS} == {"chat", "email", "phone"}
    assert ROWS[0]["turn"] == 1
    assert len({row["id"] for row in ROWS}) == len(ROWS)


def test_no_phrase_is_left_unexpanded() -> None:
    for row in [*ROWS, *made.make("support-messages-out-of-scope", 500, 7)]:
        assert not re.search(r"[\[\]<>{}|]", row["text"]), row["text"]
        assert row["text"].strip()


def test_typos_and_case_are_there() -> None:
    words = Counter(word for row in ROWS for word in re.findall(r"[a-z']+", row["text"].lower()))
    once = sum(count == 1 for count in words.values())
    assert once > 0.25 * len(words)
    assert any(row["text"].isupper() for row in ROWS)
    assert any(row["text"] == row["text"].lower() for row in ROWS)


def _shingles(text: str) -> frozenset[str]:
    return frozenset(text.lower()[i : i + 5] for i in range(max(1, len(text) - 4)))


def test_near_duplicates_are_rare() -> None:
    texts = [_shingles(row["text"]) for row in ROWS[:1200]]
    near = {
        i for i, left in enumerate(texts) for right in texts[:i]
        if min(len(left), len(right)) >= 0.9 * max(len(left), len(right)) and len(left & right) >= 0.9 * len(left | right)
    }  # fmt: skip
    assert len(near) < 0.02 * len(texts)


def test_words_alone_are_not_enough() -> None:
    """TF-IDF and logistic regression, grouped by conversation: a baseline that a tuned model can beat, but no toy."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupShuffleSplit

    texts, labels = [row["text"] for row in ROWS], [row["label"] for row in ROWS]
    split = GroupShuffleSplit(1, test_size=0.2, random_state=0).split(texts, groups=[row["conversation_id"] for row in ROWS])
    train, test = next(split)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit([texts[i] for i in train])
    model = LogisticRegression(C=30, max_iter=200).fit(words.transform([texts[i] for i in train]), [labels[i] for i in train])
    accuracy = model.score(words.transform([texts[i] for i in test]), [labels[i] for i in test])
    assert 0.80 < accuracy < 0.90


def test_out_of_scope() -> None:
    rows = list(made.make("support-messages-out-of-scope", 200, 7))
    assert {row["label"] for row in rows} == {"out_of_scope"}
    assert all(row["intents"] == [] for row in rows)
    assert set(rows[0]) == set(ROWS[0])


def test_rows_are_json() -> None:
    assert json.loads(json.dumps(ROWS[0])) == ROWS[0]


def test_fast() -> None:
    started = time.perf_counter()
    assert sum(1 for _ in made.make("support-messages", 5000, 1)) == 5000
    assert time.perf_counter() - started < 5, "10,000 rows a second when the machine is quiet; a tenth of that is a defect"


def test_bad_calls() -> None:
    with pytest.raises(UnknownName) as caught:
        made.make("support-mesages")
    assert "did you mean 'support-messages'" in caught.value.hint
    with pytest.raises(InputError, match="-1"):
        made.make("support-messages", -1)
