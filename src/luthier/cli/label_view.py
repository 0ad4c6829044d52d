"""Labelling in the terminal: a row, its suggestion and its neighbours; one key, or in plain mode one line, is an answer."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from typing import IO, Any, NamedTuple, Protocol

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from luthier.cli.reach import Labellings, Record
from luthier.core.errors import Conflict, InputError

HELP = "Enter accept   1-9 choose   c another label   s skip   u undo   q quit"
PLAIN_HELP = """an empty line or a: accept; LABEL (several: with commas; -: none); +LABEL: a new one; s: skip; u: undo; q: end;
=LABEL where it is one letter"""

ESCAPE_S = 0.05
"""How long the rest of a key that is several characters is waited for."""

_ENDS = {b"", *(bytes([code]) for code in (*range(0x40, 0x5B), *range(0x5C, 0x7F)) if code != ord("O"))}
"""What ends such a key (ECMA-48): a letter or ~, but not the [ or O after the ESC."""


class Answer(NamedTuple):
    """What a person said: ``verb`` is accept, correct, skip, undo or quit."""

    verb: str
    value: Any = None
    new: bool = False


class View(Protocol):
    """Shows rows and reads answers."""

    def preparing(self, done: int, of: int) -> None:
        """Vectors are being made."""

    def ask(self, asked: Record, about: Record, progress: Record) -> Answer:
        """What the person says of a row."""

    def said(self, message: str) -> None:
        """Something that the person should know."""


def label(there: Labellings, about: Record, author: str, view: View, count: int = 0) -> None:
    """Asks row after row until all are done, ``count`` are, or the person has enough."""
    name, done = about["name"], 0
    seen: dict[str, Record] = {}
    again: list[Record] = []
    progress = there.progress(name, author)
    while not count or done < count:
        waiting = [again.pop()] if again else there.next(name, author, 1)
        if not waiting:
            view.said(f"{name}: nothing is left for {author}")
            return
        asked = waiting[0]
        seen[asked["id"]] = asked
        answer = view.ask(asked, about, progress)
        if answer.verb == "quit":
            break
        try:
            if answer.verb == "undo":
                progress = there.undo(name, author)
                again += [asked, *([seen[row]] if (row := progress["undone"]["row"]) in seen else [])]
                done = max(0, done - 1)
                view.said(f"taken back: {progress['undone']['verb']} {_shown(progress['undone']['value'])}")
                continue
            said = {
                "row": asked["id"],
                "verb": answer.verb,
                "value": answer.value,
                "suggested": asked["suggestion"] or {},
                "new": answer.new,
            }
            progress = there.say(name, [said], author)
            done += 1
            about["labels"] = sorted({*about["labels"], *_names(answer.value)})
        except (InputError, Conflict) as error:
            view.said(f"{error} ({error.hint})")
            again.append(asked)
    view.said(f"{done} rows labelled; {progress['left']} are left")


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _shown(value: Any) -> str:
    return ", ".join(_names(value)) if value not in (None, []) else "none"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min left" if minutes >= 60 else f"{max(minutes, 1)} min left"


def choices(asked: Record) -> list[Any]:
    """What can be chosen by a digit: the suggestion, then the labels of the nearest rows, each once."""
    found = [asked["suggestion"]["value"]] if asked["suggestion"] else []
    for one in asked["nearest"]:
        if one["value"] not in found:
            found.append(one["value"])
    return found[:9]


def written(line: str, kind: str, asked: Record) -> Answer:
    """An answer as plain mode reads it."""
    word = line.strip()
    if word in ("", "a"):
        return Answer("accept", asked["suggestion"]["value"] if asked["suggestion"] else None)
    if word in ("s", "u", "q"):
        return Answer({"s": "skip", "u": "undo", "q": "quit"}[word])
    new, word = word.startswith("+"), word.removeprefix("+").removeprefix("=")
    if kind == "labels":
        return Answer("correct", [one.strip() for one in word.split(",") if one.strip() not in ("", "-")], new)
    return Answer("correct", word, new)


class Plain:
    """Lines in, lines out: for scripts, pipes and screen readers."""

    def __init__(self, source: IO[str], out: IO[str] | None = None) -> None:
        self._source, self._out = source, out or sys.stdout
        self._helped = False

    def preparing(self, done: int, of: int) -> None:
        """Said once it is done."""
        if of and done == of:
            self.said(f"vectors of {of} rows are made")

    def ask(self, asked: Record, about: Record, progress: Record) -> Answer:
        """The row in a few lines; the answer is the next line (the end of the input: enough)."""
        if not self._helped:
            self.said(PLAIN_HELP)
            self._helped = True
        guess = asked["suggestion"]
        sure = f"{_shown(guess['value'])} ({guess['confidence']:.0%}, {guess['by']})" if guess else "no suggestion"
        self.said(f"[{progress['done']}/{progress['done'] + progress['left']}] {' '.join(asked['text'].split())}\n  -> {sure}")
        line = self._source.readline()
        return written(line, about["kind"], asked) if line else Answer("quit")

    def said(self, message: str) -> None:
        """A line."""
        print(message, file=self._out, flush=True)


class Keys:
    """One key is an answer; another label is typed, and the nearest known one is taken."""

    def __init__(self) -> None:
        from luthier.cli.show import out

        self._out = out
        self._notes: list[str] = []

    def preparing(self, done: int, of: int) -> None:
        """A line that is written over."""
        if of:
            self._out.print(f"vectors {done}/{of}", end="\n" if done == of else "\r")

    def said(self, message: str) -> None:
        """Shown below the next row, and at the end."""
        self._notes.append(message)
        self._out.print(escape(message), style="dim")

    def ask(self, asked: Record, about: Record, progress: Record) -> Answer:
        """The row as a panel."""
        offered = choices(asked)
        self._out.clear()
        self._out.print(row_panel(asked, offered, progress, self._notes[-1:]))
        self._notes.clear()
        while True:
            key = read_key()
            if key in ("\r", "\n", "a") and asked["suggestion"]:
                return Answer("accept", asked["suggestion"]["value"])
            if key in ("s", "u", "q", "\x03", "\x04"):
                return Answer({"s": "skip", "u": "undo"}.get(key, "quit"))
            if key.isdigit() and 0 < int(key) <= len(offered):
                return Answer("correct", offered[int(key) - 1])
            if key in ("c", "+", "/"):
                typed = self._typed(about)
                if typed is not None:
                    return typed

    def _typed(self, about: Record) -> Answer | None:
        line = self._out.input("label (+LABEL is a new one): ").strip()
        if not line:
            return None
        if line.startswith("+"):
            return written(line, about["kind"], {"suggestion": None})
        words = [one.strip() for one in line.split(",")] if about["kind"] == "labels" else [line]
        found = [known_as(word, about["labels"]) for word in words]
        return Answer("correct", found if about["kind"] == "labels" else found[0])


def known_as(word: str, labels: Sequence[str]) -> str:
    """The label that is meant: itself, the only one that begins so or holds the word, or the nearest; else the word as it is."""
    if word in labels:
        return word
    for meant in ([one for one in labels if one.startswith(word)], [one for one in labels if word in one]):
        if len(meant) == 1:
            return meant[0]
    return next(iter(difflib.get_close_matches(word, labels, n=1)), word)


def row_panel(asked: Record, offered: Sequence[Any], progress: Record, notes: Sequence[str]) -> RenderableType:
    """A row as it is shown."""
    parts: list[RenderableType] = [Text(asked["text"], style="bold"), Text("")]
    guess = asked["suggestion"]
    if asked["shared"]:
        parts.append(Text("everybody labels this one; there is no suggestion, so that nobody leads anybody", style="dim"))
    for number, value in enumerate(offered, 1):
        sure = f"  {guess['confidence']:.0%} by {guess['by']}" if guess and number == 1 else ""
        parts.append(Text.assemble((f" {number} ", "reverse"), f" {_shown(value)}", (sure, "cyan")))
    if asked["nearest"]:
        near = Table(box=None, pad_edge=False, show_header=False)
        for one in asked["nearest"]:
            near.add_row(f"{one['cosine']:.2f}", escape(_shown(one["value"])), f"[dim]{escape(one['text'][:100])}[/dim]")
        parts += [Text(""), Text("labelled rows that are like it", style="dim"), near]
    parts += [Text(""), *(Text(note, style="yellow") for note in notes), Text(HELP, style="dim")]
    total = progress["done"] + progress["left"]
    accepted = "" if progress["accepted_share"] is None else f", {progress['accepted_share']:.0%} of suggestions accepted"
    title = " · ".join(one for one in (f"{progress['done']}/{total}{accepted}", _time(progress["left_s"])) if one)
    return Panel(Group(*parts), title=title, title_align="left")


def read_key() -> str:
    """The next key, without waiting for Enter ("" for arrows, Home, F5 and the like); Ctrl-D at the end of the input."""
    import os
    import select
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSADRAIN)  # what was typed ahead is kept
        key = os.read(descriptor, 1)
        if key == b"\x1b":  # Home is ESC [ 1 ~: its 1 is no answer
            while select.select([descriptor], [], [], ESCAPE_S)[0] and os.read(descriptor, 1) not in _ENDS:
                pass
            return ""
        return key.decode("ascii", "replace") or "\x04"
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
