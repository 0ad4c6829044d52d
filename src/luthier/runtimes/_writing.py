"""The thread in which an opened model writes: requests queue, join at the next token, and each is told what is new of its text."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from luthier.core.errors import InputError, NotPossible
from luthier.core.types import Arrays
from luthier.core.writing import Sampling, Wrote


@dataclass
class Text:
    """One text in the making: ``made`` tokens so far; ``state`` is the runtime's own, ``None`` until it has begun.

    ``beside``: arrays that came with the prompt.
    """

    prompt: list[int]
    sampling: Sampling
    tell: Callable[[Wrote], bool]
    state: Any = None
    made: int = 0
    ended: bool = False
    beside: Arrays = field(default_factory=dict)


class WriterThread:
    """A ``Writer``. A runtime opens its model, then calls ``__init__``, and gives ``_step``, ``_drop`` and ``_free``; all three run in the
    thread alone.
    """

    def __init__(self, name: str, context: int) -> None:
        self.context = context
        self._waiting: deque[Text] = deque()
        self._active: list[Text] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def write(self, prompt: Sequence[int], sampling: Sampling, tell: Callable[[Wrote], bool], beside: Arrays | None = None) -> None:
        """See ``Writer``. Raises ``InputError`` for a prompt that leaves no room in the context, ``NotPossible`` once closed."""
        if not prompt or len(prompt) >= self.context:
            raise InputError(f"the prompt holds {len(prompt)} tokens; the model reads 1 to {self.context - 1}", "shorten it")
        with self._changed:
            if self._closed:
                raise NotPossible("this model is closed", "ask again")
            self._waiting.append(Text(list(prompt), sampling, tell, beside=beside or {}))
            self._changed.notify()

    def close(self) -> None:
        """See ``Writer``."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def room(self, text: Text) -> int:
        """How many tokens its text may have: as many as are asked for and fit into the context."""
        return min(text.sampling.max_tokens, self.context - len(text.prompt))

    def _step(self, texts: Sequence[Text]) -> Iterable[tuple[Text, Wrote]]:
        """One token more of each, begun where it is new; what went wrong with a text is told as its ``error``."""
        raise NotImplementedError

    def _drop(self, text: Text) -> None:
        """Nothing more is wanted of it."""
        raise NotImplementedError

    def _free(self) -> None:
        """Lets go of the model."""
        raise NotImplementedError

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._active or self._closed):
                    self._changed.wait()
                if self._closed:
                    break
                self._active += self._waiting
                self._waiting.clear()
            for text, said in self._step(self._active):
                self._say(text, said)
            self._active = [text for text in self._active if not text.ended]
        for text in [*self._active, *self._waiting]:
            self._say(text, Wrote([], [], "cancelled"))
        self._active.clear()
        self._free()

    def _say(self, text: Text, said: Wrote) -> None:
        if text.ended:
            return
        heard = False
        with contextlib.suppress(Exception):  # a listener's defect ends its own text only
            heard = bool(text.tell(said))
        text.ended = bool(said.finish) or not heard
        if text.ended:
            self._drop(text)


def broken(error: Exception) -> Wrote:
    """What a text is told whose writing failed."""
    return Wrote([], [], "error", f"{type(error).__name__}: {error}")
