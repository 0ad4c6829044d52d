"""Image captioning: a picture in, a sentence that says what it shows out; a vision model sees, a GPT writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core import images
from luthier.core.attachment import Attachment
from luthier.core.chat_template import Segment
from luthier.core.errors import Damaged, InputError, RowError
from luthier.core.types import Arrays, Column, Example, Item, Place, Prediction, Schema, content_id
from luthier.store import files
from luthier.tasks._text import UNKNOWN, text_of
from luthier.tasks._written import Processor, Writes, limits, processor_in

IMAGE, CAPTION = "image", "caption"
BATCH_ROWS = 32
PICTURE_DATA = 'send {"image": "data:image/png;base64,..."} or {"images": [...]}'


@dataclass(frozen=True)
class Seeing(Processor):
    """With the pictures' settings, and how many positions a picture takes."""

    how: images.Settings
    places: int


class ImageCaptioning(Writes):
    """See the module. ``input_ids`` begin with as many placeholders as the picture takes positions (as LLaVA does: Liu et al. 2023,
    arXiv 2304.08485), so that lengths and masks hold; ``pixels`` uint8 [3, height, width] stand beside them.
    """

    name = "image-captioning"
    summary = "captions of product pictures: a vision model sees, a GPT writes"
    columns = (
        Column(IMAGE, "the picture", aliases=("picture", "photo", "file_name", "path")),
        Column(CAPTION, "what it shows, in a sentence", aliases=("text", "description", "title")),
    )
    primary_metric = "cider_d"
    metrics = ("cider-d", "bleu-n", "meteor", "rouge", "caption-attributes", "perplexity", "text-length", "repetition")
    baselines = ("frequent-caption", "nearest-picture", "shuffled-pictures")
    architectures = ("vision",)
    beside = ("pixels",)
    tabled = ("bleu_4", "attribute_f1", "article_accuracy")

    def settings(self, method: str, effort: str) -> dict[str, dict[str, Any]]:
        """Batches by rows: a picture costs more than its words; and a photo is larger than any text."""
        epochs = {"quick": 8.0, "standard": 16.0, "best": 30.0}[effort]
        rate = {"lora": 1e-3, "head": 1e-3}.get(method, 5e-4)
        train = {"epochs": epochs, "learning_rate": rate, "head_learning_rate": 1e-3, "batch_rows": BATCH_ROWS, "dropout": 0.0}
        return {
            "prepare": {"max_cell_bytes": images.MOST_BYTES, "near_duplicates": 1.0},
            "train": {**train, "label_smoothing": 0.0, "patience": 0, "fitted_head": False},
            "export": {"runtimes": ["onnx-captioner"]},
        }

    # -- rows ------------------------------------------------------------------------------------------------------------------------

    def example(self, row: Mapping[str, Any], place: Place) -> Example:
        """Raises ``RowError`` for a row without a picture that can be read, or without a caption."""
        data = row.get(IMAGE)
        if isinstance(data, dict):  # as the datasets library keeps pictures
            data = data.get("bytes")
        if isinstance(data, str) and data.startswith("data:"):
            data = images.from_data_url(data)
        if not isinstance(data, bytes) or not data:
            remedy = "name a picture beside the file (formats image-folder, image-table), or give its bytes"
            raise RowError(IMAGE, "holds no picture", remedy)
        caption = " ".join(text_of(row.get(CAPTION), CAPTION).split())
        inputs = {IMAGE: _attachment(data)}
        rest = {key: value for key, value in row.items() if key not in (IMAGE, CAPTION)}
        return Example(content_id(inputs), inputs, caption, "", str(place), rest)

    def schema(self, targets: Iterable[Any]) -> Schema:
        """Raises ``InputError`` when there is nothing to learn from."""
        return limits(targets, CAPTION)

    def text(self, example: Example) -> str:
        """The picture's name, which says what it shows and nothing else does: equal pictures are duplicates, equal captions are not."""
        return str(example.inputs[IMAGE])

    def worded(self, example: Example) -> str:
        """The caption."""
        return str(example.target or "")

    def stratum(self, example: Example) -> str:
        """The article, category or label, where there is such a column."""
        return next((str(example.columns[name]) for name in ("article", "category", "label") if example.columns.get(name)), "")

    def pieces(self, example: Example) -> list[str]:
        """The caption: all that can be masked."""
        return [] if example.target is None else [str(example.target)]

    def rebuilt(self, example: Example, pieces: Sequence[str]) -> Example:
        """Another caption."""
        return replace(example, target=pieces[0]) if pieces else example

    def with_text(self, example: Example, text: str) -> Example:
        """The name of another picture; nothing stands behind it unless it is this one's."""
        inputs = {IMAGE: example.inputs[IMAGE] if text == example.inputs[IMAGE] else Attachment(text)}
        return replace(example, id=content_id(inputs), inputs=inputs)

    # -- arrays ----------------------------------------------------------------------------------------------------------------------

    def processor(self, folder: Path, schema: Schema) -> Seeing:
        """Raises ``Damaged`` for a folder without tokenizer, picture settings or its number of places."""
        config = files.read_json(folder / "config.json")
        try:
            places = int(config["places"])
        except (KeyError, TypeError, ValueError):
            raise Damaged(f"{folder / 'config.json'}: says not how many places a picture takes", "make the base again") from None
        words = processor_in(folder)
        return Seeing(words.tokenizer, words.template, words.stops, images.settings_in(folder), places)

    def segments(self, example: Example, processor: Processor, schema: Schema) -> list[Segment]:
        """The caption; what stands before it is no text."""
        return [] if example.target is None else [Segment(str(example.target), True)]

    def _item(self, example: Example, processor: Processor, schema: Schema) -> Item:
        """``input_ids`` [places + tokens], ``pixels``, ``prompt`` [1]: the places; ``labels`` where the caption is known."""
        assert isinstance(processor, Seeing)
        words: list[int] = []
        if example.target is not None:
            most = int(schema.get("max_tokens", 256)) - processor.places
            words = [*processor.tokenizer.encode(str(example.target), add_special_tokens=False).ids, *processor.stops[:1]][:most]
        ids = np.array([0] * processor.places + words, dtype=np.int64)
        learned = np.array([0] * processor.places + [1] * len(words), dtype=np.int64)
        item: Item = {
            "input_ids": ids,
            "loss_mask": learned,
            "prompt": np.array([processor.places], dtype=np.int64),
            "bytes": np.array([len(str(example.target or "").encode())], dtype=np.int64),
            "pixels": images.pixels(images.read(example.inputs[IMAGE].read()), processor.how),
        }
        return item if example.target is None else item | {"labels": np.where(learned == 1, ids, UNKNOWN)}

    def collate(self, items: Sequence[Item]) -> Arrays:
        """As of tasks that write, and ``pixels`` uint8 [B,3,H,W]."""
        return super().collate(items) | {"pixels": np.stack([item["pixels"] for item in items])}

    # -- the network -----------------------------------------------------------------------------------------------------------------

    def load(self, folder: Path, schema: Schema, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0) -> Any:
        """A ``Captioner``."""
        from luthier.networks import captioner

        return captioner.load(folder, dropout=dropout, pretrained=pretrained, seed=seed)

    # -- serving ---------------------------------------------------------------------------------------------------------------------

    def request(self, body: Mapping[str, Any]) -> list[Example]:
        """``{"image": data URL}``, ``{"images": [...]}`` (or under ``text`` and ``texts``, as any endpoint is asked), or
        ``{"messages": [...]}`` whose last message of the user holds one picture. Raises ``InputError``.
        """
        if "messages" in body:
            urls = [url for message in body["messages"] for url in _urls(message)][-1:]
        else:
            given = next((body[name] for name in ("images", IMAGE, "texts", "text") if name in body), None)
            urls = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        if not urls:
            raise InputError("image: a picture is needed", PICTURE_DATA)
        return [self._asked(url, number) for number, url in enumerate(urls)]

    def _asked(self, url: Any, number: int) -> Example:
        field = f"images[{number}]"
        try:
            if not isinstance(url, str):
                raise RowError(field, "is no text", PICTURE_DATA)
            inputs = {IMAGE: _attachment(images.from_data_url(url, field))}
        except RowError as error:
            raise InputError(f"{error.field}: {error.reason}", error.remedy) from None
        return Example(content_id(inputs), inputs)

    def answer(self, prediction: Prediction, *, scores: bool = False) -> dict[str, Any]:
        """``{id, caption}``."""
        return {"id": prediction.id, CAPTION: prediction.output or ""}


def _attachment(data: bytes) -> Attachment:
    kept = images.kept(data)
    return Attachment(kept.name, kept.data)


def _urls(message: Any) -> list[Any]:
    """The addresses of a message's pictures, in OpenAI's form."""
    content = message.get("content") if isinstance(message, dict) else None
    parts = content if isinstance(content, list) and message.get("role") == "user" else []
    found = [one.get("image_url") for one in parts if isinstance(one, dict) and one.get("type") == "image_url"]
    return [one.get("url") if isinstance(one, dict) else one for one in found]


plugin = ImageCaptioning()
