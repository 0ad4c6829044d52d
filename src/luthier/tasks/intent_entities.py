"""Intents and entities of a message together: what is asked (several things at once too), about what, and whether the bot knows of it.

One encoder with an output layer for the message and one for its words, trained together (JointBERT, Chen et al. 2019, arXiv 1902.10909).
Where messages have several intents, every word votes, and clauses tell which part of the message asks what.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from luthier.core.errors import InputError, RowError
from luthier.core.plan import EvaluatePlan, TrainPlan
from luthier.core.ports import Graph, Judged
from luthier.core.tags import tag_names
from luthier.core.types import Arrays, Calibration, Column, Example, Finding, Item, Place, Prediction, Schema, content_id, names_in
from luthier.tasks import _entities
from luthier.tasks._clauses import clause_numbers, clauses_of
from luthier.tasks._tagging import Tagged, Tagging, rounded, tag_numbers, tagged, words_at
from luthier.tasks._text import MAX_TOKENS, ranked, text_of
from luthier.tasks.text_classification import decide, out_of_scope, probabilities
from luthier.tasks.token_classification import TEXT, single, tag_loss

OUTSIDE = "write [] for a message that no intent fits"


class IntentEntities(Tagging):
    """A target is ``{"labels": [intents, sorted], "entities": [{"start", "end", "label"}]}``; no intent: outside what is known."""

    name = "intent-entities"
    summary = "what a message asks (one thing or several), the spans that it is about, and whether it is out of scope"
    columns = (
        TEXT,
        Column("intents", "one intent, or a JSON list of them; [] for a message that no intent fits", True, ("intent", "labels", "label")),
        Column("entities", 'JSON: [{"start": 0, "end": 5, "label": "name"}]; [] where there is none', True, ("spans", "slots")),
    )
    carried: ClassVar[tuple[str, ...]] = ("places", "clauses")
    primary_metric = "joint_accuracy"
    metrics = ("joint-accuracy", "accuracy", "f1", "rare-f1", "entity-f1", "intent-sets", "out-of-scope", "confusion", "calibration")
    baselines = ("majority", "tfidf-logistic", "from-scratch")
    architectures = ("encoder",)

    def example(self, row: Mapping[str, Any], place: Place) -> Example:
        """The text, its intents and its spans; other columns are kept for slices."""
        inputs = {"text": text_of(row.get("text"))}
        entities = _entities.entities_in(row.get("entities"), inputs["text"], "entities")
        target = {"labels": _intents(row.get("intents")), "entities": entities}
        others = {key: value for key, value in row.items() if key not in ("text", "intents", "entities")}
        return Example(content_id(inputs), inputs, target, "", str(place), others)

    def stratum(self, example: Example) -> str:
        """The intents."""
        return "|".join(names_in(example.target))

    def schema(self, targets: Iterable[Any]) -> Schema:
        """Intents and kinds of spans; ``multi_label``: some message has not exactly one intent, ``outside``: some has none."""
        intents: set[str] = set()
        kinds: set[str] = set()
        sizes: set[int] = set()
        for target in targets:
            names = names_in(target)
            intents.update(names)
            sizes.add(len(names))
            kinds.update(entity["label"] for entity in target["entities"]) if isinstance(target, dict) else None
        if len(intents) < 2:
            found = ", ".join(map(repr, sorted(intents))) or "none"
            raise InputError(f"intents: there must be two at least, found {found}", "add examples of another, or map the right column")
        return {
            "labels": sorted(intents),
            "multi_label": bool(sizes - {1}),
            "outside": 0 in sizes,
            "entities": sorted(kinds),
            "scheme": "BIO",
            "max_tokens": MAX_TOKENS,
        }

    def findings(self, schema: Schema, counts: Mapping[str, int]) -> list[Finding]:
        """Intents with a single row."""
        return single(schema["labels"], counts)

    def encode(self, examples: Sequence[Example], processor: Any, schema: Schema) -> list[Item]:
        """As ``Tagging``, and ``clauses`` [tokens] int64: which clause each word stands in. ``labels`` [intents + tokens]: 1 for each
        intent that the message has and 0 for others, then the tags.
        """
        items = super().encode(examples, processor, schema)
        for item, example in zip(items, examples, strict=True):
            item["clauses"] = clause_numbers(self.text(example), item["places"])
        return items

    def labels(self, target: Any, places: Any, schema: Schema) -> Any:
        """Intents, then tags; raises ``InputError`` for an intent that training lacks."""
        index = {label: number for number, label in enumerate(schema["labels"])}
        unknown = [name for name in target["labels"] if name not in index]
        if unknown:
            raise InputError(f"intent {unknown[0]!r} was not seen in training", "prepare training and test data together")
        marks = np.zeros(len(index), dtype=np.int64)
        marks[[index[name] for name in target["labels"]]] = 1
        return np.concatenate([marks, tag_numbers(target["entities"], places, schema)])

    def class_of(self, item: Item, schema: Schema) -> Any:
        """Which intents an item has, [intents] 0 or 1: what resampling goes by."""
        return item["labels"][: len(schema["labels"])]

    def decode(self, ids: Sequence[str], outputs: Arrays, schema: Schema, calibration: Calibration) -> list[Prediction]:
        """Intents from ``logits`` [rows,intents], their places from ``token_logits``, spans from ``tag_logits`` (without: no spans)."""
        logits = np.asarray(outputs["logits"], dtype=np.float64)
        chances, odd = probabilities(logits, schema, calibration), out_of_scope(logits, calibration)
        chosen = _chosen(chances, odd, schema, calibration)
        floor, found = float(calibration.get("abstain_below", 0.0)), []
        for row, identity in enumerate(ids):
            made = Tagged([], [], 1.0)
            if "tag_logits" in outputs:
                made = tagged(outputs["tag_logits"][row], outputs["places"][row], schema, calibration)
            sure = _sureness(chances[row], chosen[row], schema)
            labels = [schema["labels"][number] for number in chosen[row]]
            details = {
                "intents": _placed(row, chosen[row], chances[row], outputs, schema),
                "entities": [{**entity, "confidence": one} for entity, one in zip(made.entities, made.sure, strict=True)],
            }
            found.append(
                Prediction(
                    id=identity,
                    output={"labels": labels, "entities": made.entities},
                    confidence=sure,
                    scores=dict(zip(schema["labels"], chances[row].tolist(), strict=True)),
                    abstained=sure < floor,
                    out_of_scope=float(odd[row]),
                    details=details,
                )
            )
        return found

    def calibrate(self, judged: Judged, plan: EvaluatePlan) -> Calibration:
        """The tags' temperature, and where messages outside are known, the score from which a message counts as one."""
        outside = np.array([not names_in(example.target) for example in judged.examples])
        found = super().calibrate(judged, plan)
        if outside.any() and not outside.all():
            odd = np.array([prediction.out_of_scope for prediction in judged.predictions])
            found["out_of_scope_from"] = _best_cut(odd, outside)
        return found

    def load(self, folder: Path, schema: Schema, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0) -> Any:
        """An ``EncoderTagger``."""
        from luthier.networks import encoder_tagger

        tags, several = len(tag_names(schema["entities"], schema["scheme"])), bool(schema["multi_label"])
        return encoder_tagger.load(folder, len(schema["labels"]), tags, several=several, dropout=dropout, pretrained=pretrained, seed=seed)

    def loss(self, outputs: Mapping[str, Any], batch: Mapping[str, Any], schema: Schema, plan: TrainPlan, weights: Any) -> Any:
        """The intents' loss plus ``plan.entity_weight`` times the tags'."""
        from luthier.networks import losses

        count, several = len(schema["labels"]), bool(schema["multi_label"])
        intents, tags = batch["labels"][:, :count], batch["labels"][:, count:]
        asked = losses.classification(
            outputs["logits"],
            intents.to(outputs["logits"].dtype) if several else intents.argmax(dim=1),
            several=several,
            weights=weights,
            smoothing=plan.label_smoothing,
            gamma=plan.focal_gamma if plan.loss == "focal" else 0.0,
        )
        if several:
            asked = asked * count**0.5  # the mean over intents, most of them absent, would weigh next to nothing beside the tags
        return asked + plan.entity_weight * tag_loss(outputs["tag_logits"], tags, plan)

    def graphs(self, model: Any, sample: Arrays) -> tuple[Graph, ...]:
        """One graph: ids and mask to intents, tags and embedding."""
        fed = {name: sample[name] for name in ("input_ids", "attention_mask")}
        votes = ("token_logits",) if model.several else ()
        return (Graph("model", model, fed, ("input_ids", "attention_mask"), ("logits", *votes, "tag_logits", "embedding")),)

    def answer(self, prediction: Prediction, *, scores: bool = False) -> dict[str, Any]:
        """``{id, intents: [{label, confidence, start, end}], entities: [...], confidence, abstained, out_of_scope}``."""
        body: dict[str, Any] = {
            "id": prediction.id,
            "intents": rounded(prediction.details.get("intents", [{"label": label} for label in prediction.output["labels"]])),
            "entities": rounded(prediction.details.get("entities", prediction.output["entities"])),
            "confidence": round(prediction.confidence, 6),
            "abstained": prediction.abstained,
            "out_of_scope": round(prediction.out_of_scope, 4),
        }
        if scores:
            body["scores"] = ranked(prediction.scores)
        return body


def _intents(value: Any) -> list[str]:
    """A cell as sorted intents."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            raise RowError("intents", "is not JSON", 'write ["intent", "another"], or one intent') from None
    if hasattr(value, "tolist"):
        value = value.tolist()
    names = value if isinstance(value, list | tuple) else [value]
    if any(not isinstance(name, str) or not name.strip() for name in names):
        raise RowError("intents", "is empty or no text", OUTSIDE)
    return sorted({name.strip() for name in names})


def _chosen(chances: Any, odd: Any, schema: Schema, calibration: Calibration) -> list[list[int]]:
    """The numbers of each row's intents: the likeliest one, or all from their threshold on; none for a row out of scope."""
    if not schema["multi_label"]:
        return [[int(number)] for number in decide(chances, schema["labels"], calibration)]
    given = calibration.get("thresholds", {})
    bars = np.array([float(given.get(label, 0.5)) for label in schema["labels"]])
    found = []
    for row, strange in zip(chances, odd, strict=True):
        numbers = np.flatnonzero(row >= bars).tolist()
        if "out_of_scope_from" in calibration:
            outside = strange >= float(calibration["out_of_scope_from"])
        else:
            outside = bool(schema["outside"]) and not numbers
        found.append([] if outside else numbers or [int((row / bars.clip(1e-9)).argmax())])
    return found


def _sureness(chances: Any, chosen: list[int], schema: Schema) -> float:
    """The chance of the least sure decision."""
    if not schema["multi_label"]:
        return float(chances[chosen[0]])
    taken = np.isin(np.arange(len(chances)), chosen)
    return float(np.where(taken, chances, 1.0 - chances).min())


def _best_cut(odd: Any, outside: Any) -> float:
    """The score from which rows count as outside: the one with the best F1 of rows that are, halfway to the next lower score."""
    order = np.argsort(-odd, kind="stable")
    hits = np.cumsum(outside[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + hits[-1])
    ends = np.r_[np.diff(odd[order]) < 0, True]
    last = int(np.where(ends, f1, -1.0).argmax())
    following = odd[order[last + 1]] if last + 1 < len(order) else odd[order[last]]
    return float(odd[order[last]] + following) / 2


def _placed(row: int, chosen: list[int], chances: Any, outputs: Arrays, schema: Schema) -> list[dict[str, Any]]:
    """Each intent with its chance and the part of the message that asks it: the clauses that vote for it more than for the others."""
    if "places" not in outputs:
        return [{"label": schema["labels"][number], "confidence": float(chances[number])} for number in chosen]
    places, clauses = outputs["places"][row], clauses_of(outputs["clauses"][row])
    if len(clauses) < len(chosen):  # a transcript without punctuation: every word is looked at alone
        clauses = [np.array([token]) for token in words_at(places)]
    parts: list[list[int]] = [list(range(len(clauses)))] * len(chosen)
    if len(chosen) > 1 and len(clauses) > 1 and "token_logits" in outputs:
        votes = np.asarray(outputs["token_logits"][row], dtype=np.float64)[:, chosen]
        parts = _shared_out(np.array([np.log(np.exp(votes[tokens].clip(-60, 60)).mean(axis=0)) for tokens in clauses]))
    found = []
    for number, own in zip(chosen, parts, strict=True):
        tokens = np.concatenate([clauses[one] for one in own]) if clauses else words_at(places)
        span = {"start": int(places[tokens][:, 0].min()), "end": int(places[tokens][:, 1].max())} if len(tokens) else {"start": 0, "end": 0}
        found.append({"label": schema["labels"][number], "confidence": float(chances[number]), **span})
    return sorted(found, key=lambda one: (one["start"], one["end"]))


def _shared_out(votes: Any) -> list[list[int]]:
    """Which clauses each intent has; ``votes`` [clauses,intents]. Each intent has the clause that is most its own, and those beside it
    that vote for it more than for any other intent.
    """
    lead = votes - np.array([np.delete(votes, one, axis=1).max(axis=1) for one in range(votes.shape[1])]).T
    best = votes.argmax(axis=1)
    parts = []
    for number in range(votes.shape[1]):
        core = int((votes[:, number] + lead[:, number]).argmax())
        first = last = core
        while first > 0 and best[first - 1] == number:
            first -= 1
        while last + 1 < len(votes) and best[last + 1] == number:
            last += 1
        parts.append(list(range(first, last + 1)))
    return parts


plugin = IntentEntities()
