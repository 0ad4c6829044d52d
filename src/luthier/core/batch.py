"""A batch as OpenAI's clients speak of it: what may be asked, its states and its legal moves; pure data and functions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from luthier.core.tuning import Form, MetadataKey, MetadataValue

State = Literal["validating", "in_progress", "finalizing", "completed", "failed", "cancelling", "cancelled", "expired"]

MOVES: dict[State, frozenset[State]] = {
    "validating": frozenset({"in_progress", "failed", "cancelling", "cancelled"}),
    "in_progress": frozenset({"finalizing", "cancelling", "expired", "failed"}),
    "finalizing": frozenset({"completed", "cancelling", "failed"}),
    "cancelling": frozenset({"cancelled", "failed"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
    "expired": frozenset(),
}
"""Legal moves."""

FINAL: tuple[State, ...] = ("completed", "failed", "cancelled", "expired")
ALIVE: tuple[State, ...] = ("validating", "in_progress", "finalizing", "cancelling")

URLS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
"""What a line may ask for; Azure's clients leave the ``/v1`` away."""

WINDOW_S = 24 * 3600.0
MOST_LINES = 50_000
"""Lines of a file (OpenAI's limit)."""


def may_move(old: State, new: State) -> bool:
    """Whether a batch in ``old`` may become ``new``."""
    return new in MOVES[old]


class ExpiresAfter(Form):
    """How long the files that a batch makes are kept."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


class BatchRequest(Form):
    """The body of ``POST /batches``."""

    input_file_id: str = Field(min_length=1, max_length=100)
    endpoint: Literal[
        "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/chat/completions", "/completions", "/embeddings"
    ]  # fmt: skip
    completion_window: Literal["24h"]
    metadata: dict[MetadataKey, MetadataValue] | None = Field(default=None, max_length=16)
    output_expires_after: ExpiresAfter | None = None

    @property
    def url(self) -> str:
        """The endpoint by its whole name."""
        return url_of(self.endpoint)


def url_of(text: str) -> str:
    """An address with its ``/v1``."""
    return text if text.startswith("/v1/") else f"/v1{text}"
