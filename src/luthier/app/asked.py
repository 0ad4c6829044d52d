"""What a person asks an endpoint with, as it is sent: a text as it is, a picture's file or a made one as a data URL."""

from __future__ import annotations

from pathlib import Path

from luthier.catalog import made
from luthier.core import images
from luthier.core.errors import InputError, RowError

KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".gif": "gif", ".bmp": "bmp"}
SEED = 1_000_003
"""Of made pictures that are asked about: none of them is in a made data set."""


def sent(text: str) -> str:
    """``photo.jpg`` (a file that is there) and ``made:product-pictures#3`` (the third made picture) become ``data:image/...``.

    Raises ``InputError`` for a file that is no picture and for a number that is none.
    """
    if text.startswith("made:") and "#" in text:
        name, _, number = text.removeprefix("made:").partition("#")
        if not number.isdecimal() or int(number) < 1:
            raise InputError(f"ask: {text!r} has no number of a row", "made:product-pictures#3 is the third made picture")
        *_, row = made.make(name, int(number), SEED)
        return images.to_data_url(row["image"], "png") if isinstance(row.get("image"), bytes) else str(row.get("text", ""))
    path = Path(text) if len(text) < 1000 and "\n" not in text else Path()
    if path.suffix.lower() not in KINDS or not path.is_file():
        return text
    data = path.read_bytes()
    try:
        images.read(data)
    except RowError as error:
        raise InputError(f"ask: {text} {error.reason}", error.remedy) from None
    return images.to_data_url(data, KINDS[path.suffix.lower()])
