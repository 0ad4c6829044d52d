"""Made rows with intents and spans, for tests of the tasks that tag words."""

from __future__ import annotations

import random
from typing import Any

ASKS = {
    "track": ["where is {order}", "has {order} left {city} yet", "when will the {item} arrive"],
    "cancel": ["please cancel {order}", "i do not want the {item} any more", "stop {order}"],
    "address": ["send {order} to {city} instead", "i moved to {city}", "my new address is in {city}"],
}
VALUES = {
    "order": [f"{chr(65 + n)}{n}{n + 3}-77" for n in range(9)],
    "city": ["Lisbon", "Oslo", "New York", "Brno", "Kyoto", "San Jose"],
    "item": ["kettle", "red lamp", "tent", "garden chair", "camera"],
}


def asked(chance: random.Random, intent: str, at: int = 0) -> tuple[str, list[dict[str, Any]]]:
    """A question and its spans; ``at``: how many characters stand before it."""
    text, spans = chance.choice(ASKS[intent]), []
    for kind, values in VALUES.items():
        if (place := text.find(f"{{{kind}}}")) >= 0:
            value = chance.choice(values)
            text = text.replace(f"{{{kind}}}", value)
            for one in spans:
                if one["start"] >= at + place:
                    one |= {end: one[end] + len(value) - len(kind) - 2 for end in ("start", "end")}
            spans.append({"start": at + place, "end": at + place + len(value), "label": kind})
    return text, sorted(spans, key=lambda one: one["start"])


def rows(count: int = 24, *, several: bool = False, outside: bool = False, seed: int = 1) -> list[dict[str, Any]]:
    """Rows with ``text``, ``intents`` and ``entities``: one intent each, or up to three; with ``outside`` some without any."""
    chance, found, seen = random.Random(seed), [], set()
    while len(found) < count:
        wanted = chance.sample(sorted(ASKS), chance.choice((1, 1, 2, 3))) if several else [chance.choice(sorted(ASKS))]
        text, entities = "", []
        for intent in wanted:
            text += ". Also, " if text else ""
            more, spans = asked(chance, intent, len(text))
            text, entities = text + more, entities + spans
        if outside and len(found) % 5 == 4:
            text, wanted, entities = f"who won the match number {len(found)} of the season", [], []
        if text not in seen:
            seen.add(text)
            found.append({"text": text, "intents": sorted(wanted), "entities": entities})
    return found
