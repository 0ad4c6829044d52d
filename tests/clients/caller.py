"""How the steps of ``life.py`` call the official client: one class for every version, client class and way of calling.

Only the standard library and ``openai`` are imported; nothing of the client is changed.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import secrets
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import openai

AZURE = "2024-10-21"
ACCOUNT = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/luthier/deployments"
STEPS: list[Any] = []


class Missing(Exception):
    """An earlier step did not give what this one needs."""


def step(function: Any) -> Any:
    """Adds a step to the walk."""
    STEPS.append(function)
    return function


class Life:
    """What the steps share: the client, how it is called, and what they made (``kept``)."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.mark = given, secrets.token_hex(4)
        self.azure, self.asynchronous = given.client == "AzureOpenAI", given.way == "async"
        self.client = self.connect(api_key=given.key)
        self.kept: dict[str, Any] = {}
        self.training = Path(given.data, "training.jsonl")
        self.labels = {json.loads(line)["messages"][-1]["content"] for line in self.training.read_text("utf-8").splitlines()}
        self.messages = json.loads(Path(given.data, "validation.jsonl").read_text("utf-8").splitlines()[0])["messages"][:-1]

    def connect(self, **how: Any) -> Any:
        """A client of the asked class."""
        if self.azure:
            kind = openai.AsyncAzureOpenAI if self.asynchronous else openai.AzureOpenAI
            return kind(azure_endpoint=self.given.url, api_version=AZURE, **how)
        below = "/openai/v1" if self.given.client == "OpenAI-on-Azure" else "/v1"
        return (openai.AsyncOpenAI if self.asynchronous else openai.OpenAI)(base_url=self.given.url + below, **how)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["kept"][name]
        except KeyError:
            raise Missing(f"needs {name}") from None

    async def ask(self, value: Any) -> Any:
        """The answer, of a synchronous client or of an asynchronous one."""
        return await value if inspect.isawaitable(value) else value

    async def every(self, pages: Any, most: int = 3000) -> list[Any]:
        """All items; the client asks for the following pages by itself, which must come to an end."""
        found: list[Any] = []
        if hasattr(pages, "__aiter__"):
            async for one in pages:
                found.append(one)
                assert len(found) <= most, "the pages do not end"
        else:
            for one in pages:
                found.append(one)
                assert len(found) <= most, "the pages do not end"
        return found

    async def rest(self, seconds: float) -> None:
        if self.asynchronous:
            await asyncio.sleep(seconds)
        else:
            time.sleep(seconds)

    async def refused(self, kind: Any, call: Any, *words: str) -> Any:
        """The error of a call that must fail: of this kind, with these words, its request's id and a message in its body."""
        try:
            answer = await self.ask(call())
        except kind as error:
            self._judge(error, words)
            return error
        raise AssertionError(f"{answer!r} came instead of {kind.__name__}")

    def _judge(self, error: Exception, words: tuple[str, ...]) -> None:
        if isinstance(error, openai.APIStatusError):
            assert error.request_id, "no request id"
            assert isinstance(error.body, dict), f"the body is {error.body!r}"
            assert error.body.get("message"), f"no message in {error.body!r}"
        missing = [word for word in words if word not in str(error)]
        assert not missing, f"{missing} is not in {error}"

    def manager(self, method: str, name: str, body: Any = None) -> tuple[int, Any]:
        """A call of Azure's resource manager, as people make it: by hand."""
        request = urllib.request.Request(
            f"{self.given.url}{ACCOUNT}/{name}?api-version=2024-10-01",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {self.given.key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def delivered(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(self.given.receiver, timeout=10) as answer:
            return [one for one in json.loads(answer.read()) if one["path"] == f"/{self.mark}"]
