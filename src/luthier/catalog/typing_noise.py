"""What hurried people do to a text: typos, lost apostrophes, shouting, chat words; entities keep their characters' places."""

from __future__ import annotations

from random import Random

from luthier.catalog.grammar import Piece, pick

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS: dict[str, str] = {
    letter: row[max(0, place - 1) : place] + row[place + 1 : place + 2] for row in _ROWS for place, letter in enumerate(row)
}
"""Keys beside a key on a QWERTY keyboard."""

MISTYPED = ("product", "person", "city")
"""Kinds of entity that people mistype; a mistyped number would be another number."""

_CHAT = {
    "you": "u", "are": "r", "your": "ur", "please": "plz", "because": "cos", "thanks": "thx", "and": "&", "to": "2", "for": "4",
    "i'm": "im", "don't": "dont", "can't": "cant", "doesn't": "doesnt", "isn't": "isnt", "it's": "its", "i've": "ive", "what": "wat",
    "message": "msg", "account": "acc", "number": "nr", "tomorrow": "tmrw", "people": "ppl", "password": "pw", "address": "addr",
}  # fmt: skip
_FILLERS = ("um ", "uh ", "er, ", "you know, ", "like ", "well ")


def mistype(word: str, random: Random) -> str:
    """The word with one key wrong, dropped, doubled or swapped; words below four letters stay."""
    places = [i for i, c in enumerate(word) if c.isalpha()]
    if len(places) < 4:
        return word
    place = pick(random, places[1:])
    letter, fault = word[place], random.random()
    if fault < 0.3:
        near = pick(random, _NEIGHBOURS.get(letter.lower(), "") or letter)
        return word[:place] + near + word[place + 1 :]
    if fault < 0.55:
        return word[:place] + word[place + 1 :]
    if fault < 0.7:
        return word[:place] + letter + word[place:]
    if place + 1 < len(word) and word[place + 1].isalpha():
        return word[:place] + word[place + 1] + letter + word[place + 2 :]
    return word


def with_typos(pieces: list[Piece], rate: float, random: Random) -> list[Piece]:
    """The pieces with each word mistyped at ``rate`` (entities only of the kinds in ``MISTYPED``)."""
    return [
        piece._replace(text=" ".join(mistype(word, random) if word and random.random() < rate else word for word in piece.text.split(" ")))
        if not piece.kind or piece.kind in MISTYPED
        else piece
        for piece in pieces
    ]


def as_chat(pieces: list[Piece], rate: float, random: Random) -> list[Piece]:
    """Plain words as people write them in a chat window."""
    return [
        piece
        if piece.kind
        else piece._replace(text=" ".join(_CHAT.get(w, w) if random.random() < rate else w for w in piece.text.split(" ")))
        for piece in pieces
    ]


def as_speech(pieces: list[Piece], random: Random) -> list[Piece]:
    """A transcript of a call: no punctuation, small letters, fillers."""
    spoken = [piece if piece.kind else piece._replace(text=_spoken(piece.text)) for piece in pieces]
    return [Piece(pick(random, _FILLERS)), *spoken] if random.random() < 0.5 else spoken


def _spoken(text: str) -> str:
    return "".join(c for c in text if c not in ",;:!?").replace(". ", " ").replace("\n", " ")


def cased(pieces: list[Piece], style: str) -> list[Piece]:
    """``lower`` and ``upper`` change every letter; ``sentence`` writes a capital where a sentence begins and for the word I."""
    if style != "sentence":
        return [piece._replace(text=getattr(piece.text, style)()) for piece in pieces]
    fresh, done = True, []
    for piece in pieces:
        letters = list(piece.text)
        for place, letter in enumerate(piece.text):
            after = piece.text[place + 1 : place + 2]
            if fresh and letter.isalnum():
                letters[place] = letter.upper() if not piece.kind or piece.kind in MISTYPED else letter
                fresh = False
            elif letter in ".!?\n" and after in ("", " ", "\n"):
                fresh = not piece.kind
            elif letter == "i" and not piece.kind and piece.text[place - 1 : place] in ("", " ", "\n") and after in ("", " ", "'", ","):
                letters[place] = "I"
        done.append(piece._replace(text="".join(letters)))
    return done
