"""OpenAI chat JSONL with pictures: what the user sent as ``image_url`` is the picture, the assistant's last reply its caption.

Pictures are data URLs (``data:image/jpeg;base64,...``); an address of the network is refused, as nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.core.errors import RowError
from luthier.core.images import from_data_url
from luthier.core.message_rules import last_trained
from luthier.core.ports import BadRow, Row
from luthier.formats._rows import converted
from luthier.formats.jsonl import read_objects
from luthier.formats.openai_chat import turns

MESSAGES = "messages"


def picture_and_caption(values: dict[str, Any]) -> dict[str, Any]:
    """``{image, caption, prompt, ...other keys}``; ``prompt`` is what the user said beside the picture.

    Raises ``RowError`` that names the message: one picture is needed, before a reply that is learned.
    """
    found = turns(values.get(MESSAGES))
    reply = last_trained(found)
    if reply < 0 or not found[reply].text.strip():
        raise RowError(MESSAGES, "there is no reply of the assistant", "add one with role 'assistant': it is the caption")
    urls = [one for number, said in enumerate(values[MESSAGES][:reply]) for one in _urls(said, f"{MESSAGES}[{number}]")]
    if len(urls) != 1:
        raise RowError(MESSAGES, f"there are {len(urls)} pictures before the reply, and one is read", "give each picture a line of its own")
    field, url = urls[0]
    prompt = "\n".join(turn.text for turn in found[:reply] if turn.role == "user" and turn.text.strip())
    rest = {key: value for key, value in values.items() if key not in (MESSAGES, "image", "caption", "prompt")}
    return {"image": from_data_url(url, field), "caption": found[reply].text.strip(), **({"prompt": prompt} if prompt else {}), **rest}


def _urls(message: dict[str, Any], place: str) -> list[tuple[str, str]]:
    content = message.get("content")
    if message.get("role") != "user" or not isinstance(content, list):
        return []
    found = []
    for number, part in enumerate(content):
        if isinstance(part, dict) and part.get("type") == "image_url":
            field, said = f"{place}.content[{number}].image_url", part.get("image_url")
            url = said.get("url") if isinstance(said, dict) else said
            if not isinstance(url, str):
                raise RowError(field, "holds no url", 'write {"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}')
            found.append((field, url))
    return found


class OpenaiVision:
    """See the module."""

    name = "openai-vision"
    summary = "OpenAI chat JSONL with pictures as data URLs: the reply is the caption"
    suffixes = (".jsonl",)
    makes = ("image",)

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure when the first line has messages with a picture."""
        first = head.lstrip().split(b"\n", 1)[0]
        return 0.98 if first.startswith(b"{") and b'"messages"' in first and b'"image_url"' in first else 0.0

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """Rows with ``image`` (bytes) and ``caption``; a chat without a picture or a reply is a ``BadRow``."""
        return (converted(row, picture_and_caption) for row in read_objects(path, encoding))


plugin = OpenaiVision()
