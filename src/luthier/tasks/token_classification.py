"""Token classification: spans of a text with their kinds (names, places, order numbers ...), with a transformer encoder.

Spans count in characters of the text as it is written. ``encode`` and ``decode`` need numpy and ``tokenizers`` only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.core.errors import InputError
from luthier.core.plan import TrainPlan
from luthier.core.ports import Graph
from luthier.core.tags import tag_names
from luthier.core.types import Arrays, Calibration, Column, Example, Finding, Place, Prediction, Schema, content_id, names_in
from luthier.tasks import _entities
from luthier.tasks._tagging import Tagging, rounded, tagged
from luthier.tasks._text import MAX_TOKENS, UNKNOWN, text_of

TEXT = Column("text", "the text, as it is written", True, ("body", "message", "sentence", "utterance", "query", "content", "input"))


class TokenClassification(Tagging):
    """A target is ``{"entities": [{"start", "end", "label"}, ...]}`` in order of place."""

    name = "token-classification"
    summary = "spans of a text with their kinds: names, places, products, order numbers"
    columns = (
        TEXT,
        Column("entities", 'JSON: [{"start": 0, "end": 5, "label": "name"}]; [] where there is none', True, ("spans", "labels", "label")),
    )
    primary_metric = "entity_f1"
    metrics = ("entity-f1", "joint-accuracy")
    baselines = ("from-scratch",)
    architectures = ("encoder",)

    def example(self, row: Mapping[str, Any], place: Place) -> Example:
        """The text and its spans; other columns are kept for slices."""
        inputs = {"text": text_of(row.get("text"))}
        target = {"entities": _entities.entities_in(row.get("entities"), inputs["text"], "entities")}
        return Example(content_id(inputs), inputs, target, "", str(place), {k: v for k, v in row.items() if k not in ("text", "entities")})

    def stratum(self, example: Example) -> str:
        """The kinds that the text holds."""
        return "|".join(names_in(example.target))

    def schema(self, targets: Iterable[Any]) -> Schema:
        """The sorted kinds."""
        kinds = {name for target in targets for name in names_in(target)}
        if not kinds:
            raise InputError("entities: there is no span in any row", "map the column that holds the spans")
        return {"entities": sorted(kinds), "scheme": "BIO", "max_tokens": MAX_TOKENS}

    def findings(self, schema: Schema, counts: Mapping[str, int]) -> list[Finding]:
        """Kinds that occur in a single row."""
        return single(schema["entities"], counts)

    def decode(self, ids: Sequence[str], outputs: Arrays, schema: Schema, calibration: Calibration) -> list[Prediction]:
        """Spans from ``tag_logits`` [rows,tokens,tags]; ``details["entities"]`` are they with their confidence each."""
        floor, found = float(calibration.get("abstain_below", 0.0)), []
        for identity, logits, places in zip(ids, outputs["tag_logits"], outputs["places"], strict=True):
            made = tagged(logits, places, schema, calibration)
            sure = [{**entity, "confidence": one} for entity, one in zip(made.entities, made.sure, strict=True)]
            found.append(
                Prediction(identity, {"entities": made.entities}, made.least, abstained=made.least < floor, details={"entities": sure})
            )
        return found

    def load(self, folder: Path, schema: Schema, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0) -> Any:
        """An ``EncoderTagger`` without intents."""
        from luthier.networks import encoder_tagger

        tags = len(tag_names(schema["entities"], schema["scheme"]))
        return encoder_tagger.load(folder, 0, tags, dropout=dropout, pretrained=pretrained, seed=seed)

    def loss(self, outputs: Mapping[str, Any], batch: Mapping[str, Any], schema: Schema, plan: TrainPlan, weights: Any) -> Any:
        """Cross-entropy over words; other tokens do not count."""
        return tag_loss(outputs["tag_logits"], batch["labels"], plan)

    def graphs(self, model: Any, sample: Arrays) -> tuple[Graph, ...]:
        """One graph: ids and mask to tags and embedding."""
        fed = {name: sample[name] for name in ("input_ids", "attention_mask")}
        return (Graph("model", model, fed, ("input_ids", "attention_mask"), ("tag_logits", "embedding")),)

    def answer(self, prediction: Prediction, *, scores: bool = False) -> dict[str, Any]:
        """``{id, entities: [{start, end, label, confidence}], confidence, abstained}``."""
        return {
            "id": prediction.id,
            "entities": rounded(prediction.details.get("entities", prediction.output["entities"])),
            "confidence": round(prediction.confidence, 6),
            "abstained": prediction.abstained,
        }


def single(kinds: Sequence[str], counts: Mapping[str, int]) -> list[Finding]:
    """A warning for kinds with one row."""
    lone = [kind for kind in kinds if counts.get(kind, 0) == 1]
    if not lone:
        return []
    names = ", ".join(map(repr, lone[:10]))
    remedy = "add examples: a kind cannot be learned and tested from one row"
    return [Finding("warning", "class_single", f"one row only for {names}", remedy, {"labels": lone})]


def tag_loss(logits: Any, labels: Any, plan: TrainPlan) -> Any:
    """Mean cross-entropy [] of tags; 0 for a batch in which no word is tagged."""
    from torch.nn import functional

    flat = labels.reshape(-1)
    total = functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), flat, ignore_index=UNKNOWN, label_smoothing=plan.label_smoothing, reduction="sum"
    )
    return total / (flat != UNKNOWN).sum().clamp(min=1)


plugin = TokenClassification()
