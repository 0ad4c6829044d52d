"""The bodies of chat and completion calls: every parameter that OpenAI's clients know; what a model has no use for is taken and left."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from luthier.api.chat.pieces import Asked
from luthier.api.requests import Body
from luthier.core.errors import SpecError

MOST_PROMPTS = 256

Word = Annotated[str, StringConstraints(max_length=300)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Stop = Annotated[list[Word], Field(max_length=16)]


class Known(Body):
    """A body that names the nearest parameter when it is given one that it does not know."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        names = data if isinstance(data, dict) else {}
        odd = next((name for name in names if name not in cls.model_fields), None)
        if odd is not None:
            near = difflib.get_close_matches(str(odd), cls.model_fields, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise PydanticCustomError("unknown_parameter", "{text}", {"text": f"unknown parameter {str(odd)[:80]!r}{hint}"})
        return data


class StreamOptions(Body):
    """How a stream is told."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class _Sampling(Known):
    """What both calls know: how a model that writes chooses its words. A classifier's answer does not depend on it."""

    model: Name
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    max_tokens: Count | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    presence_penalty: Penalty | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: Word | Stop | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    user: Word | None = None
    scores: bool = Field(default=False, description="Luthier's own: every label's probability, in `luthier.scores`")

    @property
    def with_usage(self) -> bool:
        """Whether the stream ends with a chunk of counts."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def check_once(self) -> None:
        """Refuses several answers to one question."""
        if (self.n or 1) != 1:
            raise SpecError(
                "n", f"is {self.n}: a model here gives one answer, always the same", "leave it out; top_logprobs tells the others"
            )


class ChatRequest(_Sampling):
    """The body of a chat call. Every parameter of OpenAI's is taken; the docs say which have an effect."""

    messages: list[dict[str, Any]] = Field(min_length=1, max_length=2048)
    audio: dict[str, Any] | None = None
    function_call: str | dict[str, Any] | None = None
    functions: list[dict[str, Any]] | None = None
    logprobs: bool | None = None
    max_completion_tokens: Count | None = None
    metadata: dict[str, Any] | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    moderation: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    prediction: dict[str, Any] | None = None
    prompt_cache_key: Word | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: Word | None = None
    reasoning_effort: Word | None = None
    response_format: dict[str, Any] | None = None
    safety_identifier: Word | None = None
    service_tier: Word | None = None
    store: bool | None = None
    tool_choice: str | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    verbosity: Word | None = None
    web_search_options: dict[str, Any] | None = None

    def asked(self) -> Asked:
        """The question; raises ``SpecError`` for what no model here can do."""
        self.check_once()
        if "audio" in (self.modalities or ()):
            raise SpecError("modalities", "asks for audio; models here write text", 'send ["text"], or leave it out')
        if self.top_logprobs is not None and not self.logprobs:
            raise SpecError("top_logprobs", "is given without logprobs", 'send "logprobs": true with it')
        alternatives = (self.top_logprobs or 0) if self.logprobs else -1
        return Asked(self.messages, "", alternatives, self.scores, self.model_dump(exclude={"messages", "model"}, exclude_none=True))


class DeployedChatRequest(ChatRequest):
    """The same where the address names the deployment: ``model`` is not read."""

    model: Word | None = None  # type: ignore[assignment]


Prompts = Annotated[list[str], Field(min_length=1, max_length=MOST_PROMPTS)]
Tokens = Annotated[list[int], Field(min_length=1)]


class CompletionRequest(_Sampling):
    """The body of a completion call."""

    prompt: str | Prompts | Tokens | Annotated[list[Tokens], Field(min_length=1, max_length=MOST_PROMPTS)]
    best_of: Annotated[int, Field(ge=1, le=20)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    suffix: Word | None = None

    def asked(self) -> list[Asked]:
        """A question for each prompt; raises ``SpecError`` for what no model here can do."""
        self.check_once()
        if self.suffix:
            raise SpecError("suffix", "models here do not fill gaps", "leave it out")
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        texts = [one for one in prompts if isinstance(one, str)]
        if len(texts) != len(prompts):
            raise SpecError("prompt", "is token ids, which every model numbers otherwise", "send the text, or a list of texts")
        alternatives = -1 if self.logprobs is None else self.logprobs
        settings = self.model_dump(exclude={"prompt", "model"}, exclude_none=True)
        return [Asked(None, text, alternatives, self.scores, settings) for text in texts]


class DeployedCompletionRequest(CompletionRequest):
    """The same where the address names the deployment: ``model`` is not read."""

    model: Word | None = None  # type: ignore[assignment]
