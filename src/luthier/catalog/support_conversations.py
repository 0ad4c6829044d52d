"""Made conversations for a chat model: the made customer messages, each answered as the invented shop's assistant would.

An answer names only values that the customer named, says the same for the same request, and hands over what it does not know; so
whether a tuned model keeps to that can be counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from random import Random
from typing import Any

from luthier.catalog import support_messages
from luthier.catalog.grammar import Piece, expand, load, pick

_OUTSIDE = 0.12
"""Share of conversations about something that no intent fits."""
_SLOT = re.compile(r"\{(\w+)\}")


@cache
def _phrases() -> dict[str, Any]:
    return load("support_answers")


def rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """``count`` conversations; the first ones are the same however many are asked for.

    A row: ``messages`` (a system prompt in half of them, then customer and assistant in turns), ``conversation_id``, ``intent`` (of the
    last request; ``out_of_scope``), ``channel``.
    """
    random = Random(f"{seed}-answers")
    inside = groupby(support_messages.rows(8 * count + 8, seed), key=lambda row: row["conversation_id"])
    outside = support_messages.out_of_scope_rows(count + 1, seed)
    for number in range(1, count + 1):
        turns = [next(outside)] if random.random() < _OUTSIDE else list(next(inside)[1])
        messages = [{"role": "system", "content": pick(random, _phrases()["system"])}] if random.random() < 0.5 else []
        known: dict[str, str] = {}
        for turn in turns:
            known |= {entity["kind"]: entity["text"] for entity in turn["entities"]}
            messages.append({"role": "user", "content": turn["text"]})
            messages.append({"role": "assistant", "content": answer(turn["label"], known, random, first=turn is turns[0])})
        yield {
            "messages": messages,
            "conversation_id": f"a{number:05d}",
            "intent": turns[-1]["label"],
            "channel": turns[-1]["channel"],
        }


def answer(intent: str, known: dict[str, str], random: Random, *, first: bool = True) -> str:
    """What the assistant says to a request; ``known``: the values that the customer named, by kind."""
    phrases = _phrases()
    every = phrases["intents"].get(intent, phrases["outside"])
    fitting = [phrase for phrase in every if set(_SLOT.findall(phrase)) <= known.keys()]
    naming = [phrase for phrase in fitting if _SLOT.search(phrase)]
    phrase = pick(random, naming if naming and random.random() < 0.8 else fitting)
    greeting = pick(random, phrases["greeting"]) if first else ""
    pieces = expand(phrase, random, {"sorry": phrases["sorry"]}, lambda kind: Piece(known[kind], kind))
    return greeting + "".join(piece.text for piece in pieces)
