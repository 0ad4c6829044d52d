"""Text classification: one label (or several) for a text, with a transformer encoder.

``encode`` and ``decode`` need numpy and ``tokenizers`` only; torch is imported where a model is in hand.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import InputError, RowError
from luthier.core.plan import TrainPlan
from luthier.core.ports import Graph
from luthier.core.types import Arrays, Calibration, Column, Example, Finding, Item, Place, Prediction, Schema, content_id
from luthier.tasks._text import MAX_TOKENS, OneText, padded, ranked

HALVED = "holds half a character (a lone surrogate)"


class TextClassification(OneText):
    """See the module."""

    name = "text-classification"
    summary = "one label, or several, for a text"
    columns = (
        Column(
            "text",
            "what the model reads",
            True,
            ("body", "message", "sentence", "review", "utterance", "query", "content", "input", "review_text"),
        ),
        Column(
            "label",
            "the right answer; a list of labels makes the task multi-label",
            True,
            ("intent", "category", "class", "topic", "target", "sentiment", "stars", "rating"),
        ),
    )
    primary_metric = "accuracy"
    metrics = ("accuracy", "f1", "rare-f1", "confusion", "roc-auc", "pr-auc", "calibration", "cost")
    baselines = ("majority", "tfidf-logistic", "nearest-centroid", "from-scratch")
    architectures = ("encoder",)

    def example(self, row: Mapping[str, Any], place: Place) -> Example:
        """The text and its label; other columns are kept for slices."""
        inputs = {"text": _written("text", row.get("text"))}
        others = {_whole("", key): _whole(key, value) for key, value in row.items() if key not in ("text", "label")}
        return Example(content_id(inputs), inputs, _target(row.get("label")), "", str(place), others)

    def stratum(self, example: Example) -> str:
        """The label; for several labels, their sorted set."""
        return example.target if isinstance(example.target, str) else "|".join(sorted(example.target or ()))

    def schema(self, targets: Iterable[Any]) -> Schema:
        """The sorted labels, and whether there can be several of them."""
        labels: set[str] = set()
        several = False
        for target in targets:
            several = several or isinstance(target, list)
            labels.update(target if isinstance(target, list) else [target])
        if len(labels) < 2:
            found = ", ".join(repr(label) for label in sorted(labels)) or "none"
            raise InputError(
                f"label: there must be two classes at least, found {found}", "add examples of another class, or map the right column"
            )
        return {"labels": sorted(labels), "multi_label": several, "max_tokens": MAX_TOKENS}

    def findings(self, schema: Schema, counts: Mapping[str, int]) -> list[Finding]:
        """Labels that differ by case or space only, and classes with a single row."""
        found = []
        alike: dict[str, list[str]] = {}
        for label in schema["labels"]:
            alike.setdefault(" ".join(label.casefold().split()), []).append(label)
        for same in alike.values():
            if len(same) > 1:
                names = " and ".join(repr(label) for label in same)
                found.append(
                    Finding(
                        "error",
                        "labels_alike",
                        f"label: {names} differ by case or space only",
                        "set prepare.merge_labels=true to merge them into the most frequent one",
                        {"labels": same},
                    )
                )
        single = [label for label in schema["labels"] if counts.get(label, 0) == 1]
        if single:
            names = ", ".join(repr(label) for label in single[:10])
            found.append(
                Finding(
                    "warning",
                    "class_single",
                    f"label: one row only for {names}",
                    "add examples: a class cannot be learned and tested from one row",
                    {"labels": single},
                )
            )
        return found

    def encode(self, examples: Sequence[Example], processor: Any, schema: Schema) -> list[Item]:
        """``input_ids`` [tokens] int64; ``labels`` [] int64, or [classes] float32 for several labels, when the target is known."""
        index = {label: number for number, label in enumerate(schema["labels"])}
        encoded = processor.encode_batch_fast([self.text(example) for example in examples])
        items: list[Item] = []
        for example, tokens in zip(examples, encoded, strict=True):
            item: Item = {"input_ids": np.array(tokens.ids, dtype=np.int64)}
            if example.target is not None:
                item["labels"] = _labels(example.target, index, several=bool(schema["multi_label"]))
            items.append(item)
        return items

    def collate(self, items: Sequence[Item]) -> Arrays:
        """``input_ids`` and ``attention_mask`` [B,S] int64, padded with 0; ``labels`` [B] or [B,classes]."""
        batch = padded(items)
        if all("labels" in item for item in items):
            batch["labels"] = np.stack([item["labels"] for item in items])
        return batch

    def decode(self, ids: Sequence[str], outputs: Arrays, schema: Schema, calibration: Calibration) -> list[Prediction]:
        """Labels with calibrated confidence from ``logits`` [rows, classes]; see ``docs/evaluate.md`` for the calibration's fields."""
        logits = np.asarray(outputs["logits"], dtype=np.float64)
        labels: list[str] = schema["labels"]
        odd = out_of_scope(logits, calibration)
        chances = probabilities(logits, schema, calibration)
        if schema["multi_label"]:
            return [_several(i, row, labels, calibration, o) for i, row, o in zip(ids, chances, odd, strict=True)]
        chosen = decide(chances, labels, calibration)
        floor = float(calibration.get("abstain_below", 0.0))
        return [
            Prediction(
                id=i,
                output=labels[pick],
                confidence=float(row[pick]),
                scores=dict(zip(labels, row.tolist(), strict=True)),
                abstained=bool(row[pick] < floor),
                out_of_scope=float(o),
            )
            for i, row, pick, o in zip(ids, chances, chosen, odd, strict=True)
        ]

    def load(self, folder: Path, schema: Schema, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0) -> Any:
        """An ``EncoderClassifier``."""
        from luthier.networks import encoder_classifier

        return encoder_classifier.load(folder, len(schema["labels"]), dropout=dropout, pretrained=pretrained, seed=seed)

    def save(self, model: Any, folder: Path) -> None:
        """Weights and configuration."""
        model.save(folder)

    def loss(self, outputs: Mapping[str, Any], batch: Mapping[str, Any], schema: Schema, plan: TrainPlan, weights: Any) -> Any:
        """Cross-entropy or focal loss with label smoothing; for several labels of each decision, without smoothing."""
        from luthier.networks import losses

        return losses.classification(
            outputs["logits"],
            batch["labels"],
            several=bool(schema["multi_label"]),
            weights=weights,
            smoothing=plan.label_smoothing,
            gamma=plan.focal_gamma if plan.loss == "focal" else 0.0,
        )

    def counted(self, batch: Mapping[str, Any], schema: Schema, weights: Any) -> float:
        """Rows; of one label each and weighed, their classes' weights."""
        if weights is None or schema["multi_label"]:
            return float(len(batch["labels"]))
        return float(weights[batch["labels"]].sum())

    def graphs(self, model: Any, sample: Arrays) -> tuple[Graph, ...]:
        """One graph: ids and mask to logits and embedding."""
        fed = {name: sample[name] for name in ("input_ids", "attention_mask")}
        return (Graph("model", model, fed, ("input_ids", "attention_mask"), ("logits", "embedding")),)

    def request(self, body: Mapping[str, Any]) -> list[Example]:
        """``{"text": "..."}`` or ``{"texts": [...]}``."""
        texts = body.get("texts", body.get("text"))
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not texts:
            raise InputError("text: a text or a list of texts is needed", 'send {"text": "..."} or {"texts": ["...", "..."]}')
        for number, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise InputError(f"texts[{number}]: is not a text or is empty", "send a string with at least one letter")
            if _halved(text):
                raise InputError(f"texts[{number}]: {HALVED}", "send whole characters: the JSON escapes of an emoji come in pairs")
        cleaned = [{"text": text.strip()} for text in texts]
        return [Example(content_id(inputs), inputs) for inputs in cleaned]

    def answer(self, prediction: Prediction, *, scores: bool = False) -> dict[str, Any]:
        """``{id, label, confidence, abstained, out_of_scope}``, with ``scores`` (all classes, best first) on request."""
        key = "labels" if isinstance(prediction.output, list) else "label"
        body: dict[str, Any] = {
            "id": prediction.id,
            key: prediction.output,
            "confidence": round(prediction.confidence, 6),
            "abstained": prediction.abstained,
            "out_of_scope": round(prediction.out_of_scope, 4),
        }
        if scores:
            body["scores"] = ranked(prediction.scores)
        return body


def _target(value: Any) -> Any:
    """A label as text, or a list of labels; raises ``RowError`` when there is none."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, list | tuple | set | np.ndarray):
        names = [_name(one) for one in value]
        return sorted(set(names))
    return _name(value)


def _name(value: Any) -> str:
    return _written("label", int(value) if isinstance(value, float) and value.is_integer() else value)


def _written(field: str, value: Any) -> str:
    """The value as text; raises ``RowError`` when it is empty or no text at all."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise RowError(field, "holds bytes that are not UTF-8", "write the column as text") from None
    if isinstance(value, list | tuple | set | dict | np.ndarray):
        raise RowError(field, f"is a {type(value).__name__}, not text", "map the column that holds the text, or join its parts")
    if value is None or (isinstance(value, float) and value != value) or not str(value).strip():
        raise RowError(field, "is empty", "fill it in or remove the row")
    return str(_whole(field, str(value).strip()))


def _whole(field: str, value: Any) -> Any:
    """The value; raises ``RowError`` for a text that cannot be written: one such row must not end the work on all others."""
    if isinstance(value, str) and _halved(value):
        raise RowError(field, HALVED, "save the file as UTF-8")
    return value


def _halved(text: str) -> bool:
    """Whether UTF-8 cannot hold the text: JSON may escape half an emoji (``\\ud83d``)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _labels(target: Any, index: Mapping[str, int], *, several: bool) -> Any:
    names = target if isinstance(target, list) else [target]
    unknown = [name for name in names if name not in index]
    if unknown:
        raise InputError(f"label {unknown[0]!r} was not seen in training", "prepare training and test data together")
    if not several:
        return np.array(index[names[0]], dtype=np.int64)
    row = np.zeros(len(index), dtype=np.float32)
    row[[index[name] for name in names]] = 1.0
    return row


def probabilities(logits: Any, schema: Schema, calibration: Calibration) -> Any:
    """Calibrated chances [rows, classes]: softmax (or sigmoid) of logits / temperature (Guo et al. 2017, arXiv 1706.04599)."""
    scaled = np.asarray(logits, dtype=np.float64) / float(calibration.get("temperature", 1.0))
    if schema["multi_label"]:
        return 1.0 / (1.0 + np.exp(-np.clip(scaled, -60, 60)))
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def decide(chances: Any, labels: Sequence[str], calibration: Calibration) -> Any:
    """Class number for each row: the likeliest, or the one of least expected cost when ``calibration['costs']`` is given (Elkan 2001)."""
    costs = calibration.get("costs")
    if not costs:
        return np.asarray(chances).argmax(axis=-1)
    matrix = np.array([[0.0 if a == b else float(costs.get(a, {}).get(b, 1.0)) for b in labels] for a in labels])
    return (np.asarray(chances) @ matrix).argmin(axis=-1)


def out_of_scope(logits: Any, calibration: Calibration) -> Any:
    """How unlike the known messages each row is, 0 to 1: the share of validation rows with more energy (Liu et al. 2020, arXiv 2010.03759).

    ``calibration['energy_quantiles']`` holds evenly spaced quantiles of log-sum-exp(logits) on validation rows; without it, zeros.
    """
    values = np.asarray(logits, dtype=np.float64)
    quantiles = calibration.get("energy_quantiles")
    if not quantiles:
        return np.zeros(len(values))
    top = values.max(axis=-1)
    energy = top + np.log(np.exp(values - top[:, None]).sum(axis=-1))
    return 1.0 - np.interp(energy, np.maximum.accumulate(quantiles), np.linspace(0.0, 1.0, len(quantiles)))


def _several(identity: str, row: Any, labels: Sequence[str], calibration: Calibration, odd: float) -> Prediction:
    """Every label above its threshold; confidence is the chance of the least sure decision."""
    thresholds = calibration.get("thresholds", {})
    bars = np.array([float(thresholds.get(label, 0.5)) for label in labels])
    chosen = row >= bars
    sureness = np.where(chosen, row, 1.0 - row)
    confidence = float(sureness.min())
    return Prediction(
        id=identity,
        output=[label for label, yes in zip(labels, chosen, strict=True) if yes],
        confidence=confidence,
        scores=dict(zip(labels, row.tolist(), strict=True)),
        abstained=confidence < float(calibration.get("abstain_below", 0.0)),
        out_of_scope=float(odd),
    )


def count_labels(targets: Iterable[Any]) -> Counter[str]:
    """How often each label occurs."""
    return Counter(name for target in targets for name in (target if isinstance(target, list) else [target]))


plugin = TextClassification()
