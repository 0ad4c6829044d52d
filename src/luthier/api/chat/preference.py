"""A preference-tuned model's answer to a chat: it is a chat model, and answers as one."""

from __future__ import annotations

from luthier.api.chat.chat import answer

__all__ = ["answer"]
