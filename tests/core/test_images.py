"""Pictures: hard files come out upright, in colour and whole, or are refused by name; pixels are those of transformers, byte for byte."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from luthier.core import images
from luthier.core.errors import Damaged, RowError


def _picture(width: int = 61, height: int = 40) -> Any:
    noise = np.random.default_rng(3).integers(0, 256, (max(2, height // 4), max(2, width // 4), 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def _bytes(image: Any, kind: str = "PNG", **more: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


PROCESSORS: list[tuple[str, str, dict[str, Any]]] = [
    ("convnext", "ConvNextImageProcessorPil", {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}),
    ("convnext", "ConvNextImageProcessorPil", {"size": {"shortest_edge": 64}, "crop_pct": 0.95}),
    ("convnext", "ConvNextImageProcessorPil", {"size": {"shortest_edge": 384}}),
    ("vit", "ViTImageProcessorPil", {"size": {"height": 96, "width": 128}}),
    ("vit", "ViTImageProcessorPil", {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}),
    ("deit", "DeiTImageProcessorPil", {}),
    ("clip", "CLIPImageProcessorPil", {"size": {"shortest_edge": 100}, "crop_size": {"height": 96, "width": 96}}),
    ("clip", "CLIPImageProcessorPil", {"size": {"shortest_edge": 30}, "crop_size": {"height": 96, "width": 71}}),
]


@pytest.mark.parametrize("number", range(len(PROCESSORS)))
@pytest.mark.parametrize("size", [(61, 40), (40, 61), (300, 299), (9, 9), (480, 512)])
def test_exactly_what_transformers_makes(number: int, size: tuple[int, int], tmp_path: Path) -> None:
    from importlib import import_module

    model, name, given = PROCESSORS[number]
    theirs = getattr(import_module(f"transformers.models.{model}.image_processing_pil_{model}"), name)(**given)
    theirs.save_pretrained(tmp_path)
    ours = images.settings_in(tmp_path)
    image = _picture(*size)
    wanted = theirs(image, return_tensors="np")["pixel_values"][0]
    made = images.pixels(image, ours)
    assert made.dtype == np.uint8
    assert made.shape[1:] == ours.size == wanted.shape[1:]
    raw = theirs(image, return_tensors="np", do_rescale=False, do_normalize=False)["pixel_values"][0]
    assert np.array_equal(made, raw)
    assert np.abs(images.normalised(made, ours) - wanted).max() < 1e-6


def test_older_configurations_are_read_as_they_were_meant() -> None:
    resnet = {"crop_pct": 0.875, "feature_extractor_type": "ConvNextFeatureExtractor", "resample": 3, "size": 224,
              "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}  # fmt: skip
    found = images.settings(resnet)
    assert (found.resize, found.crop, found.size, found.scale) == ((256, 0), (224, 224), (224, 224), 1 / 255)
    assert images.settings({"feature_extractor_type": "ViTFeatureExtractor", "size": 224}).resize == (224, 224)
    for wrong in ({"size": {"longest_edge": 5}}, {"do_resize": False}, {"image_mean": [1, 2]}, {"size": {"shortest_edge": 224}}):
        with pytest.raises(ValueError):
            images.settings(wrong)


def test_a_folder_without_settings_is_named(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match=r"preprocessor_config\.json: the file is missing"):
        images.settings_in(tmp_path)
    (tmp_path / images.CONFIG).write_text(json.dumps({"size": "large"}))
    with pytest.raises(Damaged, match="'large'"):
        images.settings_in(tmp_path)


def test_exif_turns_the_picture_and_then_goes() -> None:
    image = _picture()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    exif[0x010E] = "taken at home"
    data = _bytes(image, "PNG", exif=exif)
    found = images.read(data)
    assert found.tobytes() == image.transpose(Image.Transpose.ROTATE_270).tobytes()
    assert b"taken at home" in data
    assert b"taken at home" not in images.kept(data).data


def test_alpha_lies_over_white() -> None:
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    clear.putpixel((0, 0), (200, 0, 0, 255))
    clear.putpixel((1, 0), (200, 0, 0, 128))
    for kind in ("PNG", "WEBP"):
        found = images.read(_bytes(clear, kind, **({"lossless": True} if kind == "WEBP" else {})))
        assert [found.getpixel((x, 0)) for x in range(3)] == [(200, 0, 0), (227, 127, 127), (255, 255, 255)]
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    found = images.read(_bytes(palette, "PNG", transparency=0))
    assert [found.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (200, 100, 50)]


def test_grey_cmyk_and_sixteen_bits() -> None:
    assert images.read(_bytes(Image.new("L", (3, 3), 77))).getpixel((1, 1)) == (77, 77, 77)
    assert images.read(_bytes(Image.new("1", (3, 3), 1))).getpixel((1, 1)) == (255, 255, 255)
    red = images.read(_bytes(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)).getpixel((1, 1))
    assert red[0] > 240
    assert max(red[1:]) < 15
    deep = Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16))
    found = images.read(_bytes(deep))
    assert [found.getpixel((x, 0))[0] for x in range(3)] == [0, 100, 255]
    floats = Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32))
    assert [images.read(_bytes(floats, "TIFF")).getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_of_an_animation_the_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    for kind in ("GIF", "WEBP"):
        data = _bytes(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
        assert images.read(data).getpixel((4, 4))[:2] == pytest.approx((255, 0), abs=3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_what_is_cut_short_is_refused(kind: str) -> None:
    data = _bytes(_picture(200, 150), kind)
    assert images.read(data).size == (200, 150)
    for share in (0.02, 0.3, 0.7):
        with pytest.raises(RowError, match=r"damaged or cut short|no picture"):
            images.read(data[: int(len(data) * share)])


def _png(width: int, height: int) -> bytes:
    """A PNG's head that promises so many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 4096)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (9_000, 9_000), (8_001, 8_000)])
def test_bombs_are_refused_before_they_are_decoded(width: int, height: int) -> None:
    with pytest.raises(RowError, match="pixels") as found:
        images.read(_png(width, height))
    assert found.value.field == "image"
    assert found.value.remedy == "make it smaller"


def test_what_is_no_picture_is_refused() -> None:
    for data in (b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>"):
        with pytest.raises(RowError, match="no picture"):
            images.read(data)
    with pytest.raises(RowError, match="50 times"):
        images.read(_bytes(Image.new("RGB", (400, 2))))
    with pytest.raises(RowError, match="bytes, the most"):
        images.read(b"\0" * (images.MOST_BYTES + 1))


def test_a_picture_is_kept_small_and_the_same_again() -> None:
    small, large = _picture(96, 96), _picture(1000, 750)
    for image, name in ((small, ".png"), (large, ".jpg")):
        one = images.kept(_bytes(image, "PNG"))
        assert one.name.endswith(name)
        assert len(one.name) == 36
        assert one == images.kept(_bytes(image, "PNG"))
    assert images.read(images.kept(_bytes(small)).data).tobytes() == small.tobytes()
    shrunk = images.read(images.kept(_bytes(large)).data)
    assert min(shrunk.size) == images.KEPT_EDGE
    assert shrunk.size == (683, 512)
    near = np.abs(np.asarray(shrunk).astype(int) - np.asarray(large.resize((683, 512), 3)).astype(int))
    assert near.mean() < 4
    assert images.kept(_bytes(small)).name != images.kept(_bytes(small.rotate(90))).name
