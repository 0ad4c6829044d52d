"""Pictures: read safely, kept in one form, and made into the numbers that a vision model reads; numpy and Pillow only.

One path for training and serving: ``read`` turns a file's bytes into upright RGB, ``kept`` writes it as it is kept and sent on (so that
what a photo's file tells beside the picture, such as where it was taken, goes no further), ``pixels`` does what the base model's
``preprocessor_config.json`` says. The last step, ``normalised``, is done by the network itself: until then a pixel is a byte.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from luthier.core.errors import Damaged, RowError

MOST_BYTES = 64_000_000
MOST_PIXELS = 64_000_000
"""What decodes to more is refused before it is decoded: a small file can hold a picture that fills the memory."""
MOST_RATIO = 50
"""Long side over short side."""
KEPT_EDGE = 512
"""Pixels of the shorter side: a larger picture is shrunk to it. No base model reads more."""
PNG_PIXELS = 65_536
"""Up to here a picture is kept without loss, above as JPEG of quality 95."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "AVIF")
"""What is opened; others (EPS, PDF ...) would start foreign programs."""
CONFIG = "preprocessor_config.json"
FIELD = "image"
CAPTIONER = "picture-captioner"
"""``model_type`` in the configuration of a network that looks and writes (``networks.captioner``)."""


class Kept(NamedTuple):
    """A picture as it is kept. ``name`` follows from its pixels and says what file it is: ``3f2a....png``."""

    name: str
    data: bytes


def read(data: bytes) -> Any:
    """The picture in a file's bytes: RGB, upright (EXIF), over white where it was transparent, the first frame of several.

    Raises ``RowError`` for what is no picture, is cut short, or is too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if len(data) > MOST_BYTES:
        raise RowError(FIELD, f"has {len(data):,} bytes, the most is {MOST_BYTES:,}", "make it smaller")
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            _check_size(*image.size)
            short = min(image.size)
            if short > 2 * KEPT_EDGE:  # a JPEG can be decoded at a half, a quarter or an eighth of its size
                image.draft(None, (image.width * 2 * KEPT_EDGE // short, image.height * 2 * KEPT_EDGE // short))
            image.load()
            return _rgb(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise RowError(FIELD, f"would be decoded to more than {MOST_PIXELS:,} pixels", "make it smaller") from None
    except UnidentifiedImageError:
        known = ", ".join(FORMATS[:6])
        raise RowError(FIELD, "is no picture, or of a kind that is not read", f"save it as one of {known}") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        if isinstance(error, RowError):
            raise
        raise RowError(FIELD, f"is damaged or cut short ({str(error)[:80]})", "copy or save the picture again") from None


def kept(data: bytes) -> Kept:
    """The picture in a file's bytes as it is kept. Raises ``RowError`` as ``read`` does."""
    return written(read(data))


def written(image: Any) -> Kept:
    """An RGB picture as it is kept."""
    short = min(image.size)
    if short > KEPT_EDGE:
        image = image.resize(tuple(max(KEPT_EDGE, round(side * KEPT_EDGE / short)) for side in image.size), 3)
    name = hashlib.sha256(f"{image.width}x{image.height}:".encode() + image.tobytes()).hexdigest()[:32]
    out = io.BytesIO()
    if image.width * image.height <= PNG_PIXELS:
        image.save(out, "PNG")
        return Kept(f"{name}.png", out.getvalue())
    image.save(out, "JPEG", quality=95, subsampling=0)
    return Kept(f"{name}.jpg", out.getvalue())


@cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise RowError(FIELD, f"has {width:,} x {height:,} pixels, the most is {MOST_PIXELS:,} in all", "make it smaller")
    if max(width, height) > MOST_RATIO * min(width, height):
        raise RowError(FIELD, f"has {width:,} x {height:,} pixels: one side is more than {MOST_RATIO} times the other", "cut it")


def _rgb(image: Any) -> Any:
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Any) -> Any:
    """Greys of 16 or 32 bits as 8: Pillow itself would make all that is above 255 white. A picture of fractions reaches from 0 to 1."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    if image.mode == "F":
        values = values * (255.0 if values.max(initial=0.0) <= 1.0 else 1.0)
    elif image.mode.startswith("I;16") or values.max(initial=0) > 255:
        values = values / 257.0
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Settings:
    """What a base model does to a picture, in this order: resize, crop the middle, rescale, normalise.

    ``resize`` (height, width): to exactly this; (shorter side, 0): keeping the shape; (0, 0): not at all. ``crop`` likewise.
    """

    resize: tuple[int, int] = (224, 224)
    crop: tuple[int, int] = (0, 0)
    resample: int = 2
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every picture that is made."""
        return self.crop if self.crop[0] else self.resize


def settings_in(folder: Path) -> Settings:
    """The settings in a model's folder; raises ``Damaged`` where they are missing or cannot be followed exactly."""
    path = folder / CONFIG
    try:
        return settings(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise Damaged(f"{path}: the file is missing", "copy it from where the model came from") from None
    except (ValueError, TypeError, KeyError) as error:
        raise Damaged(f"{path}: cannot be followed: {error}", "a size in pixels, mean and standard deviation are needed") from None


def settings(config: Mapping[str, Any]) -> Settings:
    """From the fields of ``preprocessor_config.json``, of newer and older forms; raises ``ValueError`` for what is not understood."""
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    resize, crop = (0, 0), (0, 0)
    if config.get("do_resize", True):
        resize = _size(config.get("size", 224), square="CLIP" not in kind and "ConvNext" not in kind)
        if kind.startswith("ConvNext") and not resize[1]:
            resize, crop = _convnext(resize[0], float(config.get("crop_pct") or 224 / 256))
    if config.get("do_center_crop", kind.startswith("CLIP")):
        crop = _size(config.get("crop_size", 224), square=True)
    found = Settings(
        resize=resize,
        crop=crop,
        resample=int(config.get("resample", 3 if kind.startswith(("ConvNext", "CLIP", "DeiT")) else 2)),
        scale=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
        mean=_three(config.get("image_mean", 0.5)) if config.get("do_normalize", True) else (0.0, 0.0, 0.0),
        std=_three(config.get("image_std", 0.5)) if config.get("do_normalize", True) else (1.0, 1.0, 1.0),
    )
    if not all(found.size):
        raise ValueError("it leaves pictures in sizes of their own, and a network reads one size")
    return found


def as_config(how: Settings) -> dict[str, Any]:
    """``preprocessor_config.json`` that ``settings`` reads as the same settings."""
    kept = {"size": {"height": how.resize[0], "width": how.resize[1]} if how.resize[1] else {"shortest_edge": how.resize[0]}}
    found: dict[str, Any] = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": bool(how.resize[0]),
        "resample": how.resample,
        "do_center_crop": bool(how.crop[0]),
        "do_rescale": True,
        "rescale_factor": how.scale,
        "do_normalize": True,
        "image_mean": list(how.mean),
        "image_std": list(how.std),
    }
    crop = {"crop_size": {"height": how.crop[0], "width": how.crop[1]}} if how.crop[0] else {}
    return found | (kept if how.resize[0] else {}) | crop


def _convnext(edge: int, share: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Below 384 a somewhat larger picture is cropped; from there on it is pressed into a square."""
    return ((int(edge / share), 0), (edge, edge)) if edge < 384 else ((edge, edge), (0, 0))


def _size(said: Any, *, square: bool) -> tuple[int, int]:
    if isinstance(said, int):
        return (said, said) if square else (said, 0)
    if isinstance(said, Mapping) and set(said) == {"height", "width"}:
        return int(said["height"]), int(said["width"])
    if isinstance(said, Mapping) and set(said) == {"shortest_edge"}:
        return int(said["shortest_edge"]), 0
    raise ValueError(f"size {said!r} is not understood")


def _three(said: Any) -> tuple[float, ...]:
    values = tuple(map(float, said)) if isinstance(said, list | tuple) else (float(said),) * 3
    if len(values) != 3:
        raise ValueError(f"{len(values)} channels, a picture has 3")
    return values


def pixels(image: Any, how: Settings) -> Any:
    """uint8 [3, height, width] of an RGB picture: resized and cropped, byte for byte as transformers' Pillow processors do it."""
    import numpy as np

    if how.resize[0]:
        size = how.resize if how.resize[1] else _keeping_shape(image, how.resize[0])
        image = image.resize((size[1], size[0]), how.resample)
    array = np.asarray(image)
    if how.crop[0]:
        array = _middle(array, *how.crop)
    return np.ascontiguousarray(array.transpose(2, 0, 1))


def _keeping_shape(image: Any, edge: int) -> tuple[int, int]:
    short, long = sorted(image.size)
    far = int(edge * long / short)
    return (far, edge) if image.width <= image.height else (edge, far)


def _middle(array: Any, height: int, width: int) -> Any:
    """The middle [height, width, 3]; what is smaller gets a black border."""
    import numpy as np

    missing = [max(0, wanted - there) for wanted, there in ((height, array.shape[0]), (width, array.shape[1]))]
    if any(missing):
        borders = [(-(-one // 2), one // 2) for one in missing]
        array = np.pad(array, (*borders, (0, 0)))
    top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
    return array[top : top + height, left : left + width]


def normalised(array: Any, how: Settings) -> Any:
    """float32 [..., 3, height, width] of ``pixels``, as the network makes them itself."""
    import numpy as np

    mean, std = (np.array(values, dtype=np.float32).reshape(3, 1, 1) for values in (how.mean, how.std))
    return ((array.astype(np.float64) * how.scale).astype(np.float32) - mean) / std


def to_data_url(data: bytes, kind: str = "*") -> str:
    """``data:image/png;base64,...`` of a picture's bytes; ``kind``: ``png``, ``jpeg`` ... (``*``: whatever it is)."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def from_data_url(url: str, field: str = FIELD) -> bytes:
    """The bytes in ``data:image/png;base64,...``; raises ``RowError`` for another kind of address."""
    head, comma, body = url.partition(",")
    if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
        shown = url[:40] + (" ..." if len(url) > 40 else "")
        raise RowError(field, f"is {shown!r}, and no picture is fetched from an address", "send data:image/png;base64,... instead")
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise RowError(field, "holds no base64 behind the comma", "send data:image/png;base64,... instead") from None
