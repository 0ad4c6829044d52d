"""From tokens to text: whole characters, stop words over borders, many at once, callers who leave, and endings of every kind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from luthier.core.errors import InputError, NotPossible, Overloaded, SpecError
from luthier.core.types import Example
from luthier.core.writing import Sampling, Wrote
from luthier.stages.serve import writing
from luthier.stages.serve.engine import Closed
from luthier.stages.serve.writing import Detokenizer, Said, Stops, Wish, WritingEndpoint, sampling
from luthier.tasks._written import Processor
from luthier.tasks.chat import plugin as chat
from luthier.testing import made


class ByteWriter:
    """Writes the bytes of a text, one a token, for everybody at once; ``pause_s`` between two tokens."""

    def __init__(self, text: str, pause_s: float = 0.0, finish: str = "stop") -> None:
        self.text, self.pause_s, self.finish = text.encode(), pause_s, finish
        self.asked: list[Sampling] = []
        self.cancelled = 0
        self.closed = False
        self.threads: list[threading.Thread] = []

    def write(self, prompt: Sequence[int], sampling: Sampling, tell: Callable[[Wrote], bool], beside: Any = None) -> None:
        self.asked.append(sampling)

        def work() -> None:
            for number, token in enumerate(self.text[: sampling.max_tokens]):
                time.sleep(self.pause_s)
                full = number + 1 == sampling.max_tokens
                if not tell(Wrote([token], [], "length" if full else "")):
                    self.cancelled += 1
                    return
                if full:
                    return
            tell(Wrote([], [], self.finish, "a defect" if self.finish == "error" else ""))

        self.threads.append(threading.Thread(target=work, daemon=True))
        self.threads[-1].start()

    def settled(self) -> ByteWriter:
        """Once nothing is written any more."""
        for thread in self.threads:
            thread.join(10)
        return self

    def close(self) -> None:
        self.closed = True


class ByteProcessor(Processor):
    """Tokens are bytes."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        return bytes(ids).decode("utf-8", "replace")


def _endpoint(writer: Any) -> WritingEndpoint:
    base = made.base(architecture="decoder")
    schema = {"max_tokens": 64, "most_new_tokens": 200}
    real = chat.processor(base, schema)
    return WritingEndpoint(chat, schema, ByteProcessor(real.tokenizer, real.template, real.stops), writer)


ASKED = Example("1", {"messages": [{"role": "user", "content": "hello"}]})


def _heard(endpoint: WritingEndpoint, wish: Wish = Wish()) -> list[Said]:  # noqa: B008 - frozen
    async def listen() -> list[Said]:
        return [said async for said in endpoint.stream(ASKED, wish)]

    return asyncio.run(listen())


@pytest.mark.parametrize("text", ["plain", "größe 🎻 東京", "🙂🙂", "a\n b"])
def test_characters_come_whole(text: str) -> None:
    heard = _heard(_endpoint(ByteWriter(text)))
    assert "".join(said.text for said in heard) == text
    assert all("\ufffd" not in said.text for said in heard)
    assert heard[-1].finish == "stop"
    assert heard[-1].answered is not None
    assert heard[-1].answered.prediction.output == text
    assert heard[-1].answered.prediction.details["completion_tokens"] == len(text.encode())


def test_half_a_character_at_the_end_is_shown_as_such() -> None:
    words = Detokenizer(lambda ids: bytes(ids).decode("utf-8", "replace"))
    assert words.feed([0xF0, 0x9F]) == ""
    assert words.feed([], last=True) == "\ufffd"


@pytest.mark.parametrize(
    ("stop", "given"),
    [(["END"], "go on "), (["on E"], "go "), (["o", "go"], "g"[:0]), (["never"], "go on END more"), (["EN", "more"], "go on ")],
)
def test_stop_words_end_a_text_and_are_not_in_it(stop: list[str], given: str) -> None:
    writer = ByteWriter("go on END more")
    heard = _heard(_endpoint(writer), Wish(Sampling(max_tokens=0), tuple(stop)))
    assert "".join(said.text for said in heard) == given
    assert heard[-1].finish == "stop"
    assert writer.settled().cancelled == (0 if stop == ["never"] else 1)


def test_what_could_become_a_stop_word_is_held_back_until_it_is_known() -> None:
    stops = Stops(["</s>"])
    assert [stops.feed(one) for one in ("a<", "/s", "b", "<", "/s>c")] == ["a", "", "</sb", "", ""]
    assert stops.met
    again = Stops(["</s>"])
    assert again.feed("x</", last=True) == "x</"


def test_a_text_ends_at_its_length() -> None:
    heard = _heard(_endpoint(ByteWriter("abcdef")), Wish(Sampling(max_tokens=3)))
    assert "".join(said.text for said in heard) == "abc"
    assert heard[-1].finish == "length"


def test_many_at_once_get_their_own_text() -> None:
    endpoint = _endpoint(ByteWriter("hello there", pause_s=0.001))

    async def everybody() -> list[str]:
        async def one() -> str:
            return "".join([said.text async for said in endpoint.stream(ASKED, Wish())])

        return list(await asyncio.gather(*(one() for _ in range(32))))

    assert asyncio.run(everybody()) == ["hello there"] * 32
    assert endpoint.active == 0
    assert [one.prediction.output for one in endpoint.predict_now([ASKED, ASKED])] == ["hello there"] * 2


def test_who_leaves_is_not_written_for_any_more() -> None:
    writer = ByteWriter("x" * 190, pause_s=0.005)
    endpoint = _endpoint(writer)

    async def leave() -> None:
        stream = endpoint.stream(ASKED, Wish())
        async for _ in stream:
            break
        await stream.aclose()
        await asyncio.sleep(0.1)

    asyncio.run(leave())
    assert writer.cancelled == 1
    assert endpoint.active == 0


def test_too_many_are_refused_and_errors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MOST_TEXTS", 1)
    endpoint = _endpoint(ByteWriter("x" * 50, pause_s=0.01))
    endpoint.begin(ASKED, Wish(), lambda said: None)
    with pytest.raises(Overloaded):
        endpoint.begin(ASKED, Wish(), lambda said: None)
    with pytest.raises(NotPossible, match="a defect"):
        _heard(_endpoint(ByteWriter("ab", finish="error")))
    with pytest.raises(Closed):
        _heard(_endpoint(ByteWriter("ab", finish="cancelled")))


def test_closing_lets_texts_end_and_takes_no_more() -> None:
    writer = ByteWriter("abc", pause_s=0.03)
    endpoint = _endpoint(writer)
    heard: list[Any] = []
    endpoint.begin(ASKED, Wish(), heard.append)
    endpoint.close()
    assert heard[-1].finish == "stop"
    assert writer.closed
    with pytest.raises(Closed):
        endpoint.begin(ASKED, Wish(), heard.append)
    with pytest.raises(InputError, match="no embeddings"):
        endpoint.embeddings()


def test_what_a_request_asks_for() -> None:
    wish = sampling({"max_tokens": 7, "temperature": 0, "top_p": 0.5, "seed": 3, "stop": "x", "presence_penalty": 1})
    assert wish == Wish(Sampling(max_tokens=7, temperature=0.0, top_p=0.5, seed=3, presence_penalty=1.0), ("x",))
    assert sampling({"max_completion_tokens": 9, "max_tokens": 7}).sampling.max_tokens == 9
    assert sampling({}).sampling.temperature == 1.0
    with pytest.raises(SpecError, match="logit_bias"):
        sampling({"logit_bias": {"5": 1}})
