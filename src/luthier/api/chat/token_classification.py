"""The spans of a text as the answer to a chat: a JSON object with the entities and what they say, in the text as it was sent."""

from __future__ import annotations

from luthier.api.chat.intent_entities import answer

__all__ = ["answer"]
