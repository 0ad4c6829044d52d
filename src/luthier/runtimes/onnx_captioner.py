"""Captioners on ONNX Runtime: one graph sees the picture, one writes the caption token by token with its cache of keys and values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import Damaged, InputError
from luthier.core.images import CAPTIONER
from luthier.core.types import Arrays
from luthier.core.writing import Sampling, Writer, Wrote
from luthier.runtimes import _onnxruntime
from luthier.runtimes._quiet import quiet
from luthier.runtimes._writing import Text, WriterThread, broken
from luthier.store import files

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
SETTINGS = "captioner.json"
MOST_AT_ONCE = 32
"""Pictures that are begun together."""


class OnnxCaptioner:
    """See the module. The encoder: ``pixels`` [B,3,H,W] uint8 to ``prefix`` [B,places,hidden]. The decoder: ``prefix`` [B,P,hidden],
    ``input_ids`` [B,S] and ``past`` [layers,2,B,heads,T,width] to ``logits`` [B,words] of the last position and ``present``; P or S may
    be 0.
    """

    name = "onnx-captioner"
    summary = "ONNX Runtime for captioners: pictures to texts, fp32 or int8, with the decoder's cache"
    writes = True
    precisions = (32, 8)
    beside = ("pixels",)

    def missing(self) -> str:
        """Why it cannot be used ("" when it can)."""
        return _onnxruntime.missing()

    def fits(self, config: Mapping[str, Any]) -> str:
        """Captioners only."""
        kind = config.get("model_type")
        return "" if kind == CAPTIONER else f"a {kind or 'nameless'} model looks at no picture"

    def convert_model(self, model: Path, folder: Path, bits: int) -> None:
        """Traced by torch for any number of pictures and tokens. With 8 bits the decoder's products are such; what sees stays exact."""
        encoder, decoder, settings = _traced(model, max(path.stat().st_mtime_ns for path in model.iterdir()))
        with files.written_aside(folder / ENCODER) as aside:
            encoder.save(str(aside), external_data=False)
        with files.written_aside(folder / DECODER) as aside:
            exact = aside if bits == 32 else aside.with_suffix(".exact")
            decoder.save(str(exact), external_data=False)
            if bits != 32:
                _onnxruntime.quantize(exact, aside)
                exact.unlink()
        files.write_json(folder / SETTINGS, settings | {"bits": bits})

    def open_writer(self, folder: Path, *, threads: int = 0) -> Writer:
        """Ready to write; one thread where nothing else is asked for."""
        return CaptionWriter(folder, threads or 1)


@lru_cache(maxsize=1)
def _traced(model: Path, changed_ns: int) -> tuple[Any, Any, dict[str, int]]:
    """Both graphs and the settings; followed once for all precisions."""
    import torch

    from luthier.networks import captioner

    network = captioner.load(model).eval()
    seen = torch.zeros(2, 3, *network.how.size, dtype=torch.uint8)
    encoder = _graph(captioner.Sees(network), {"pixels": seen}, {"pixels": (0,)}, ["prefix"])
    writes = captioner.Writes(network)
    dynamic = {"prefix": (0, 1), "input_ids": (0, 1), "past": (2, 4)}
    decoder = _graph(writes, writes.sample(), dynamic, ["logits", "present"])
    return encoder, decoder, {"context": captioner.context_of(network), "places": network.places}


def _graph(module: Any, sample: Mapping[str, Any], dynamic: Mapping[str, tuple[int, ...]], outputs: list[str]) -> Any:
    """A torch module as an ONNX program; ``dynamic``: the axes of each input that may have any length."""
    import torch

    shapes = tuple(dict.fromkeys(dynamic[name], torch.export.Dim.DYNAMIC) for name in sample)
    with quiet(), torch.no_grad():
        return torch.onnx.export(
            module.eval(),
            tuple(sample.values()),
            dynamo=True,
            input_names=list(sample),
            output_names=outputs,
            dynamic_shapes=shapes,
            verbose=False,
        )


@dataclass(eq=False)
class _Group:
    """Texts that were begun together and so stand at the same place; ``past`` holds their cache, ``last`` their last tokens."""

    texts: list[Text]
    past: Any
    last: list[int] = field(default_factory=list)
    chances: list[Any] = field(default_factory=list)


class CaptionWriter(WriterThread):
    """An opened captioner: a step is one token more of every caption in the making. A text's ``state`` is its group."""

    def __init__(self, folder: Path, threads: int) -> None:
        settings = files.read_json(folder / SETTINGS)
        self._sees = _onnxruntime.open_graph(folder / ENCODER, threads=threads)
        self._writes = _onnxruntime.open_graph(folder / DECODER, threads=threads)
        try:
            context, self._places = int(settings["context"]), int(settings["places"])
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(f"{folder / SETTINGS}: lacks {error}", "export the model again") from None
        shape = self._writes.shapes["past"]
        self._empty = (shape[0], 2, 0, shape[3], 0, shape[5])
        super().__init__("caption-writer", context)

    def write(self, prompt: Sequence[int], sampling: Sampling, tell: Callable[[Wrote], bool], beside: Arrays | None = None) -> None:
        """See ``WriterThread``. Raises ``InputError`` without a picture, for penalties and for a JSON schema."""
        if not beside or "pixels" not in beside:
            raise InputError("image: a captioner needs a picture", 'send {"image": "data:image/png;base64,..."}')
        if sampling.frequency_penalty or sampling.presence_penalty:
            raise InputError("frequency_penalty and presence_penalty are not supported for captions", "leave them out")
        if sampling.json_schema:
            raise InputError("response_format: captions are plain text", "leave it out")
        super().write(prompt, sampling, tell, beside)

    def _step(self, texts: Sequence[Text]) -> Iterator[tuple[Text, Wrote]]:
        begun = [text for text in texts if text.state is None][:MOST_AT_ONCE]
        going = dict.fromkeys(text.state for text in texts if text.state is not None)
        for group in going:
            group.texts, keep = _living(group)
            if group.texts:
                yield from self._guarded(group.texts, partial(self._go_on, group, keep))
        for places in dict.fromkeys(len(text.prompt) for text in begun):
            some = [text for text in begun if len(text.prompt) == places]
            yield from self._guarded(some, partial(self._begin, some))

    def _guarded(self, texts: Sequence[Text], work: Callable[[], Iterable[tuple[Text, Wrote]]]) -> list[tuple[Text, Wrote]]:
        """What went wrong ends these texts alone."""
        try:
            return list(work())
        except Exception as error:  # noqa: BLE001 - the other groups go on
            return [(text, broken(error)) for text in texts]

    def _begin(self, texts: list[Text]) -> Iterable[tuple[Text, Wrote]]:
        prefix = self._sees.run({"pixels": np.stack([text.beside["pixels"] for text in texts])})["prefix"]
        ids = np.array([text.prompt[self._places :] for text in texts], dtype=np.int64).reshape(len(texts), -1)
        empty = (*self._empty[:2], len(texts), *self._empty[3:])
        found = self._writes.run({"prefix": prefix, "input_ids": ids, "past": np.zeros(empty, dtype=np.float32)})
        group = _Group(texts, found["present"], chances=[np.random.default_rng(text.sampling.seed) for text in texts])
        for text in texts:
            text.state = group
        return self._chosen(group, found["logits"])

    def _go_on(self, group: _Group, keep: list[int]) -> Iterable[tuple[Text, Wrote]]:
        if len(keep) < group.past.shape[2]:
            group.past = group.past[:, :, keep]
            group.last, group.chances = [group.last[n] for n in keep], [group.chances[n] for n in keep]
        prefix = np.zeros((len(keep), 0, self._writes.shapes["prefix"][2]), dtype=np.float32)
        ids = np.array(group.last, dtype=np.int64)[:, None]
        found = self._writes.run({"prefix": prefix, "input_ids": ids, "past": group.past})
        group.past = found["present"]
        return self._chosen(group, found["logits"])

    def _chosen(self, group: _Group, logits: Any) -> list[tuple[Text, Wrote]]:
        group.last, found = [], []
        for text, row, chance in zip(group.texts, logits, group.chances, strict=True):
            token, likely = choose(row, text.sampling, chance)
            group.last.append(token)
            if token in text.sampling.stop_ids:
                found.append((text, Wrote([], [], "stop")))
                continue
            text.made += 1
            found.append((text, Wrote([token], [likely], "length" if text.made >= self.room(text) else "")))
        return found

    def _drop(self, text: Text) -> None:
        """Its row is left out at the next step."""

    def _free(self) -> None:
        del self._sees, self._writes


def _living(group: _Group) -> tuple[list[Text], list[int]]:
    """The texts that have not ended, and their rows."""
    keep = [row for row, text in enumerate(group.texts) if not text.ended]
    return [group.texts[row] for row in keep], keep


def choose(logits: Any, asked: Sampling, chance: Any) -> tuple[int, float]:
    """The next token and its log probability: the likeliest, or (temperature above 0) drawn from the ``top_k`` likeliest that hold
    ``top_p`` of the chance (nucleus sampling: Holtzman et al. 2020, arXiv 1904.09751).
    """
    logits = logits.astype(np.float64)
    logs = logits - logits.max()
    logs = logs - np.log(np.exp(logs).sum())
    if asked.temperature <= 0:
        token = int(logs.argmax())
        return token, float(logs[token])
    order = np.argsort(-logs, kind="stable")[: asked.top_k or None]
    weights = np.exp((logs[order] - logs[order[0]]) / asked.temperature)
    weights /= weights.sum()
    kept = int(np.searchsorted(np.cumsum(weights), min(asked.top_p, 1.0 - 1e-12))) + 1
    token = int(chance.choice(order[:kept], p=weights[:kept] / weights[:kept].sum()))
    return token, float(logs[token])


plugin = OnnxCaptioner()
