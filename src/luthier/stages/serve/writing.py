"""Endpoints of models that write: prompts join the running model, text comes back piece by piece, stop words and half characters held back.

What a runtime gives are tokens; that they become text, and end where a caller said, happens here, once for every runtime.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from luthier.core import registry
from luthier.core.errors import Damaged, InputError, NotPossible, Overloaded, SpecError
from luthier.core.hooks import beside
from luthier.core.ports import Task
from luthier.core.types import Arrays, Calibration, Example, Prediction, Schema
from luthier.core.writing import Sampling, Writer, Wrote, most_new_tokens, stops_of
from luthier.stages.serve.engine import Answered, Closed, Endpoint
from luthier.stages.serve.masking import Masking
from luthier.stages.writing import prompt_of
from luthier.store import files

MOST_TEXTS = 256
"""Texts that may be in the making or wait before new ones are refused."""
HALF = "\ufffd"
"""What a tokenizer gives for bytes that are no whole character yet."""


@dataclass(frozen=True)
class Wish:
    """How a caller wants a text: ``sampling`` (of its ``max_tokens`` 0: as the task says), and words that end it (and are not in it)."""

    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=0))
    stop: tuple[str, ...] = ()


class Said(NamedTuple):
    """A piece of a text. The last one has a ``finish`` (``stop`` or ``length``) and the whole ``answered``."""

    text: str
    finish: str = ""
    answered: Answered | None = None


class Detokenizer:
    """Tokens to text as they come: a character whose bytes are spread over tokens is given when it is whole."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._from = self._given = 0

    def feed(self, ids: Sequence[int], *, last: bool = False) -> str:
        """The text that is sure now."""
        self._ids += ids
        before, now = self._decode(self._ids[self._from : self._given]), self._decode(self._ids[self._from :])
        if now.endswith(HALF) and not last:
            return ""
        self._from, self._given = self._given, len(self._ids)
        return now[len(before) :]


class Stops:
    """Ends a text at the first of some words; what may be a word's beginning is held back until it is known."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = [word for word in words if word]
        self._held = ""
        self.met = False

    def feed(self, text: str, *, last: bool = False) -> str:
        """What can be given of the text so far."""
        if self.met:
            return ""
        self._held += text
        places = [place for word in self._words if (place := self._held.find(word)) >= 0]
        if places:
            self.met = True
            given, self._held = self._held[: min(places)], ""
            return given
        keep = 0 if last else max((self._overlap(word) for word in self._words), default=0)
        cut = len(self._held) - keep
        given, self._held = self._held[:cut], self._held[cut:]
        return given

    def _overlap(self, word: str) -> int:
        """How much of a word's beginning the held text ends with."""
        return next((size for size in range(min(len(word) - 1, len(self._held)), 0, -1) if self._held.endswith(word[:size])), 0)


class _Text:
    """One text on its way from tokens to pieces; ``tell`` gets each piece from the writer's thread."""

    def __init__(
        self, owner: WritingEndpoint, example: Example, prompt: int, wish: Wish, tell: Callable[[Said | BaseException], None]
    ) -> None:
        self.owner, self.example, self.prompt, self.tell = owner, example, prompt, tell
        self.words, self.stops = Detokenizer(owner.decode), Stops(wish.stop)
        self.started = time.perf_counter()
        self.first_ms = 0.0
        self.tokens = 0
        self.parts: list[str] = []
        self.left = False
        self.over = False

    def hear(self, said: Wrote) -> bool:
        """Tokens of the runtime; whether more are wanted."""
        if self.over:
            return False
        if said.ids and not self.first_ms:
            self.first_ms = (time.perf_counter() - self.started) * 1e3
        self.tokens += len(said.ids)
        if said.finish in ("error", "cancelled") or self.left:
            self._end(Closed("this endpoint was replaced by another export", "ask again") if said.finish == "cancelled" else _broken(said))
            return False
        last = bool(said.finish)
        text = self.stops.feed(self.words.feed(said.ids, last=last), last=last)
        if not self.parts:
            text = text.lstrip()
        self.parts += [text] if text else []
        finish = "stop" if self.stops.met else said.finish
        if finish:
            self._end(Said(text, finish, self._answered(finish)))
        elif text:
            self.tell(Said(text))
        return not finish

    def _answered(self, finish: str) -> Answered:
        took = (time.perf_counter() - self.started) * 1e3
        details = {"completion_tokens": self.tokens, "first_token_ms": round(self.first_ms, 3), "finish_reason": finish}
        whole = "".join(self.parts).strip()
        return Answered(Prediction(self.example.id, whole, 0.0, details=details), self.prompt, self.owner.active, took)

    def _end(self, said: Said | BaseException) -> None:
        self.over = True
        self.owner.ended()
        self.tell(said)


def _broken(said: Wrote) -> BaseException:
    return NotPossible(f"the model could not go on: {said.error or 'nobody listens any more'}", "ask again")


class WritingEndpoint:
    """An opened export that writes; the same to ask as ``Endpoint``, and ``stream``. Close it when it is not needed any more."""

    def __init__(self, task: Task, schema: Schema, processor: Any, writer: Writer) -> None:
        self.task, self.schema = task, schema
        self.calibration: Calibration = {}
        self.workers = 1
        self.facts: dict[str, Any] = {}
        self.folder = Path()
        self.masking = Masking({})
        self.watchers: list[Callable[[list[Answered], Arrays], None]] = []
        """Never called: there are no arrays to watch; what was written is journaled."""
        self.active = 0
        self._processor, self._writer = processor, writer
        self._stops = stops_of(task, processor, schema)
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def open(cls, folder: Path, *, threads: int = 0) -> WritingEndpoint:
        """Raises ``Damaged`` for a folder that is not whole, ``NotPossible`` when its runtime is not installed."""
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        facts = files.read_json(folder / "export.json")
        runtime = registry.get("runtimes", facts["runtime"])
        if reason := runtime.missing():
            raise NotPossible(f"{folder}: needs the runtime {facts['runtime']}, which cannot be used here", reason)
        task: Task = registry.get("tasks", facts["task"])
        schema = files.read_json(folder / "schema.json")
        endpoint = cls(task, schema, task.processor(folder, schema), runtime.open_writer(folder, threads=threads))
        endpoint.facts, endpoint.folder, endpoint.masking = facts, folder, Masking.of(folder)
        return endpoint

    def decode(self, ids: Sequence[int]) -> str:
        """Tokens as text, marks left out."""
        return str(self._processor.decode(list(ids), skip_special_tokens=True))

    @property
    def waiting(self) -> int:
        """Texts in the making."""
        return self.active

    def ended(self) -> None:
        """A text is whole, or given up."""
        with self._lock:
            self.active -= 1

    def begin(self, example: Example, wish: Wish, tell: Callable[[Said | BaseException], None]) -> _Text:
        """Queues a text. Raises ``Overloaded`` when too many are being written, ``Closed`` once closed, ``InputError`` for a prompt that is
        too long.
        """
        masked, _ = self.masking.example(self.task, example)
        (item,) = self.task.encode([Example(masked.id, masked.inputs)], self._processor, self.schema)
        prompt = prompt_of(item)
        most = wish.sampling.max_tokens or most_new_tokens(self.task, self.schema)
        with self._lock:
            if self._closed:
                raise Closed("this endpoint was replaced by another export", "ask again")
            if self.active >= MOST_TEXTS:
                raise Overloaded(f"{self.active} texts are being written already", "try again in a second, or serve with more workers")
            self.active += 1
        text = _Text(self, masked, len(prompt), wish, tell)
        try:
            self._writer.write(prompt, replace(wish.sampling, max_tokens=most, stop_ids=self._stops), text.hear, beside(self.task, item))
        except BaseException:
            self.ended()
            raise
        return text

    async def stream(self, example: Example, wish: Wish) -> AsyncIterator[Said]:
        """The text as it is written; when the caller stops listening, writing stops."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Said | BaseException] = asyncio.Queue()

        def tell(said: Said | BaseException) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(queue.put_nowait, said)

        text = await asyncio.to_thread(self.begin, example, wish, tell)
        try:
            while True:
                said = await queue.get()
                if isinstance(said, BaseException):
                    raise said
                yield said
                if said.finish:
                    return
        finally:
            text.left = True

    async def predict(self, examples: Sequence[Example]) -> list[Answered]:
        """Whole answers, in order."""
        return list(await asyncio.gather(*(self._whole(example) for example in examples)))

    async def _whole(self, example: Example) -> Answered:
        async for said in self.stream(example, Wish()):
            if said.answered is not None:
                return said.answered
        raise Damaged("a text ended without its last piece", "report it")

    def predict_now(self, examples: Sequence[Example]) -> list[Answered]:
        """The same, for callers without an event loop."""
        futures: list[Future[Answered]] = [Future() for _ in examples]

        def tell(future: Future[Answered], said: Said | BaseException) -> None:
            if isinstance(said, BaseException):
                future.set_exception(said)
            elif said.answered is not None:
                future.set_result(said.answered)

        for example, future in zip(examples, futures, strict=True):
            self.begin(example, Wish(), lambda said, future=future: tell(future, said))  # type: ignore[misc]
        return [future.result() for future in futures]

    def embeddings(self) -> Endpoint:
        """There are none: raises ``InputError``."""
        raise InputError("model: a model that writes has no embeddings", "ask an encoder, or a classifier's model")

    def close(self) -> None:
        """Takes nothing more, lets what is being written end, then frees the model."""
        with self._lock:
            self._closed = True
        end = time.monotonic() + 60
        while self.active and time.monotonic() < end:
            time.sleep(0.02)
        self._writer.close()


def sampling(settings: dict[str, Any]) -> Wish:
    """From the fields of an OpenAI request; raises ``SpecError`` for what no runtime here can do."""
    if settings.get("logit_bias"):
        raise SpecError("logit_bias", "is not supported by models here", "leave it out")
    most = settings.get("max_completion_tokens") or settings.get("max_tokens") or 0
    heat = settings.get("temperature")
    stop = settings.get("stop") or ()
    return Wish(
        Sampling(
            max_tokens=int(most),
            temperature=1.0 if heat is None else float(heat),
            top_p=float(settings.get("top_p") or 1.0),
            seed=int(settings.get("seed") or 0) % 2**31,
            frequency_penalty=float(settings.get("frequency_penalty") or 0.0),
            presence_penalty=float(settings.get("presence_penalty") or 0.0),
            json_schema=_json_schema(settings.get("response_format")),
        ),
        (stop,) if isinstance(stop, str) else tuple(stop),
    )


def _json_schema(form: Any) -> str:
    """What ``response_format`` asks for, as a JSON schema; "" for plain text. Raises ``SpecError``."""
    kind = form.get("type") if isinstance(form, dict) else None
    if form is None or kind in (None, "text"):
        return ""
    if kind == "json_object":
        return json.dumps({"type": "object"})
    if kind != "json_schema":
        raise SpecError("response_format.type", f"is {kind!r:.40}", "use text, json_object or json_schema")
    named = form.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(schema, dict):
        remedy = 'send {"name": "...", "schema": {"type": "object", ...}}'
        raise SpecError("response_format.json_schema.schema", "is no JSON schema", remedy)
    return json.dumps(schema)


def open_export(folder: Path, *, threads: int = 0) -> Endpoint | WritingEndpoint:
    """An exported folder as what it is."""
    path = folder / "export.json"
    opener = WritingEndpoint if path.is_file() and files.read_json(path).get("writes") else Endpoint
    return opener.open(folder, threads=threads)
