"""The grammar of the made customer-support messages: conversations of one to four messages by invented customers of a shop.

What makes them hard: intents share most words; a third of the messages names a second topic (a second question, or a topic that
it says it is *not* about), and the label is the first real request; typos, chat words, transcripts; context that could belong
to any intent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any, TypeAlias

from luthier.catalog import typing_noise
from luthier.catalog.grammar import Piece, expand, load, pick
from luthier.catalog.invented import Persona

_Written: TypeAlias = tuple[list[Piece], list[str]]
"""A message, and the intents in it."""

CHANNELS = ("chat", "chat", "chat", "email", "email", "phone")
REGIONS = ("north", "south", "east", "west")

_REQUESTS = (0, 1, 1, 1, 1, 2, 2, 2, 3, 3)
"""How many requests a message of ``question_rows`` makes; one without any is about something that no intent fits."""

_TWO_PARTS = 0.16
_NOT_THAT = 0.14
_STAYS = 0.35
"""Share of messages with two requests, of messages that set another topic aside first, and of later messages that keep the intent."""


@cache
def _phrases() -> dict[str, Any]:
    return load("support_messages")


@cache
def _out_of_scope() -> list[str]:
    core: list[str] = load("out_of_scope")["core"]
    return core


def intents() -> list[str]:
    """The labels, sorted."""
    return sorted(_phrases()["intents"])


def rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """``count`` messages; the first ones are the same however many are asked for.

    A row: ``id``, ``conversation_id``, ``turn`` (from 1), ``channel``, ``region``, ``text``, ``label`` (the first request),
    ``intents`` (all requests in order), ``entities`` (``kind``, ``start``, ``end`` in characters, ``text``).
    """
    return _conversations(count, seed, "True", lambda asked, intent: asked.about(intent))


def question_rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Messages of none to three requests, for learning what is asked all at once; ``intents`` is empty where no intent fits.

    A row has ``asks`` too: where each request stands (``label``, ``start``, ``end``).
    """
    return _conversations(count, seed, "questions", lambda asked, intent: asked.asking(intent, pick(asked.random, _REQUESTS)))


def out_of_scope_rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Messages that no intent fits, written in the same way; ``label`` is ``out_of_scope``."""
    return _conversations(count, seed, "False", lambda asked, intent: asked.outside())


def _conversations(count: int, seed: int, kind: str, write: Callable[[_Message, str], _Written]) -> Iterator[dict[str, Any]]:
    random, made, conversation = Random(f"{seed}-{kind}"), 0, 0
    names = intents()
    while made < count:
        conversation += 1
        persona, channel, region = Persona(random), pick(random, CHANNELS), pick(random, REGIONS)
        intent = pick(random, names)
        for turn in range(1, pick(random, (1, 1, 1, 2, 2, 3, 4)) + 1):
            if made == count:
                return
            made += 1
            if turn > 1 and random.random() > _STAYS:
                intent = pick(random, names)
            persona.used.clear()
            asked = _Message(random, persona, channel, turn)
            pieces, found = write(asked, intent)
            typed = asked.as_typed(pieces)
            text, entities = _joined(typed)
            yield (_asks(typed) if kind == "questions" else {}) | {
                "id": f"m{made:06d}", "conversation_id": f"c{conversation:05d}", "turn": turn, "channel": channel, "region": region,
                "text": text, "label": found[0] if found else "out_of_scope", "intents": found, "entities": entities,
            }  # fmt: skip


class _Message:
    """One message being written."""

    def __init__(self, random: Random, persona: Persona, channel: str, turn: int) -> None:
        self.random, self.persona, self.channel, self.turn = random, persona, channel, turn

    def said(self, phrase: str) -> list[Piece]:
        return expand(phrase, self.random, _phrases()["words"], self.persona.piece)

    def _core(self, intent: str) -> list[Piece]:
        return [piece._replace(intent=intent) for piece in self.said(pick(self.random, _phrases()["intents"][intent]["core"]))]

    def _another(self, intent: str) -> str:
        names = intents()
        return names[(names.index(intent) + 1 + int(self.random.random() * (len(names) - 1))) % len(names)]

    def about(self, intent: str) -> _Written:
        """The whole message for an intent, and the intents in it, the main one first."""
        dice, core = self.random.random(), self._core(intent)
        if dice < _TWO_PARTS:
            second = self._another(intent)
            return self.around([*_open_ended(core), Piece(pick(self.random, _phrases()["joins"])), *self._core(second)]), [intent, second]
        if dice < _TWO_PARTS + _NOT_THAT:
            aside = pick(self.random, _phrases()["not_that"])
            before, _, after = aside.partition("{about}")
            topic = pick(self.random, _phrases()["intents"][self._another(intent)]["about"])
            return self.around([Piece(before + topic + after), *core]), [intent]
        return self.around(core), [intent]

    def asking(self, intent: str, requests: int) -> _Written:
        """So many requests, the first of them ``intent``, each of another one; none: something that no intent fits."""
        if requests < 2:
            return self.about(intent) if requests else self.outside()
        found = [intent]
        pieces = self._core(intent)
        while len(found) < requests:
            another = self._another(found[-1])
            if another not in found:
                found.append(another)
                pieces = [*_open_ended(pieces), Piece(pick(self.random, _phrases()["joins"])), *self._core(another)]
        return self.around(pieces), found

    def outside(self) -> _Written:
        """A message that no intent fits."""
        return self.around(self.said(pick(self.random, _out_of_scope()))), []

    def around(self, core: list[Piece]) -> list[Piece]:
        """Greeting, context, the core, contact and thanks, as the channel has them."""
        random, email = self.random, self.channel == "email"
        pieces: list[Piece] = []
        line = Piece("\n" if email and random.random() < 0.5 else " ")
        if self.turn == 1 and random.random() < (0.8 if email else 0.35):
            pieces += [*self.said("<hello>"), Piece(","), line]
        if random.random() < (0.55 if email else 0.3):
            pieces += [*self.said(pick(random, _phrases()["contexts"])), Piece(" ")]
        pieces += core
        if random.random() < (0.3 if email else 0.12):
            pieces += [*_ended(core), Piece(" "), *self.said(pick(random, _phrases()["contact"]))]
        if random.random() < (0.6 if email else 0.18):
            pieces += [line, *self.said("<thanks>")]
        if email and random.random() < 0.4:
            pieces += [line, self.persona.piece("person")]
        return pieces

    def as_typed(self, pieces: list[Piece]) -> list[Piece]:
        random = self.random
        if self.channel == "chat" and random.random() < 0.3:
            pieces = typing_noise.as_chat(pieces, 0.6, random)
        if self.channel == "phone":
            pieces = typing_noise.as_speech(pieces, random)
        elif random.random() < 0.45:
            pieces = typing_noise.with_typos(pieces, pick(random, (0.05, 0.12, 0.25)), random)
        dice = random.random()
        if self.channel == "phone" or (dice < 0.4 and self.channel == "chat"):
            return typing_noise.cased(pieces, "lower")
        return typing_noise.cased(pieces, "upper" if dice > 0.97 else "sentence")


def _open_ended(core: list[Piece]) -> list[Piece]:
    """Without its last full stop or question mark: the join brings its own."""
    return [*core[:-1], core[-1]._replace(text=core[-1].text.rstrip(".?"))] if core and not core[-1].kind else core


def _ended(core: list[Piece]) -> list[Piece]:
    return [] if core and core[-1].text.endswith((".", "?", "!")) else [Piece(".")]


def _asks(pieces: list[Piece]) -> dict[str, Any]:
    """``asks``: where each request stands in the text."""
    found: list[dict[str, Any]] = []
    at = 0
    for piece in pieces:
        end = at + len(piece.text)
        if piece.intent and found and found[-1]["label"] == piece.intent:
            found[-1]["end"] = end
        elif piece.intent:
            found.append({"label": piece.intent, "start": at, "end": end})
        at = end
    return {"asks": found}


def _joined(pieces: list[Piece]) -> tuple[str, list[dict[str, Any]]]:
    """The text, and where its entities stand in it."""
    text, entities = "", []
    for piece in pieces:
        if piece.kind:
            entities.append({"kind": piece.kind, "start": len(text), "end": len(text) + len(piece.text), "text": piece.text})
        text += piece.text
    return text, entities
