"""What the tasks share that give every word a tag: the text and its words, tags and their likeliest legal sequence, masking, requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from luthier.core import tags
from luthier.core.edits import Edit, applied
from luthier.core.plan import EvaluatePlan, TrainPlan
from luthier.core.ports import Judged
from luthier.core.types import Arrays, Calibration, Example, Item, Prediction, Schema, content_id
from luthier.tasks import _entities
from luthier.tasks._text import UNKNOWN, OneText, padded_with_labels, requested

TEMPERATURES = np.exp(np.linspace(np.log(0.3), np.log(5.0), 57))
PENALTIES = np.arange(0.0, 8.01, 0.25)
"""What the outside tag's logit may lose so that more is found; the first is none."""


class Tagged(NamedTuple):
    """The spans of one text: ``entities`` as in a target, ``sure`` each one's confidence, ``least`` that of the least sure word."""

    entities: list[dict[str, Any]]
    sure: list[float]
    least: float


class Tagging(OneText):
    """A text of which every word has a tag. A word is tagged by its first token, and an item carries where its words stand."""

    carried: ClassVar[tuple[str, ...]] = ("places",)
    pools = False

    def with_edits(self, example: Example, edits: Sequence[Edit]) -> Example:
        """The example after replacements in its text, its spans moved with it."""
        changed = self.with_text(example, applied(self.text(example), edits))
        if not isinstance(example.target, dict):
            return changed
        return replace(changed, target={**example.target, "entities": _entities.moved(example.target["entities"], edits)})

    def as_written(self, prediction: Prediction, edits: Sequence[Edit]) -> Prediction:
        """The answer with its spans in the text before the replacements."""
        details = {name: _entities.back(value, edits) if isinstance(value, list) else value for name, value in prediction.details.items()}
        return replace(
            prediction,
            output={**prediction.output, "entities": _entities.back(prediction.output["entities"], edits)},
            details=details,
        )

    def fitted(self, schema: Schema, plan: TrainPlan) -> Schema:
        """The schema with the plan's tag scheme."""
        return {**schema, "scheme": plan.tag_scheme}

    def encode(self, examples: Sequence[Example], processor: Any, schema: Schema) -> list[Item]:
        """``input_ids`` [tokens] int64 and ``places`` [tokens,2] int64: start and end (characters) of the word that begins with the token,
        0 and 0 for every other one; ``labels`` int64 when the target is known.
        """
        encoded = processor.encode_batch([self.text(example) for example in examples])
        items: list[Item] = []
        for example, tokens in zip(examples, encoded, strict=True):
            item: Item = {"input_ids": np.array(tokens.ids, dtype=np.int64), "places": places_of(tokens, self.text(example))}
            if example.target is not None:
                item["labels"] = self.labels(example.target, item["places"], schema)
            items.append(item)
        return items

    def labels(self, target: Any, places: Any, schema: Schema) -> Any:
        """What is learned of an item: its tokens' tags [tokens] int64."""
        return tag_numbers(target["entities"], places, schema)

    def collate(self, items: Sequence[Item]) -> Arrays:
        """``input_ids`` and ``attention_mask`` [B,S] int64, padded with 0; ``labels`` padded with -100 at their end."""
        return padded_with_labels(items)

    def save(self, model: Any, folder: Path) -> None:
        """Weights and configuration."""
        model.save(folder)

    def calibrate(self, judged: Judged, plan: EvaluatePlan) -> Calibration:
        """``tag_temperature``: with it the confidence of a span is how often such spans are right (least log loss, Guo et al. 2017).

        Where the plan asks for a ``span_recall``, also ``outside_penalty``: the least with which so many words of spans are found.
        """
        if "tag_logits" not in judged.outputs:
            return {}
        penalty = _outside_penalty(judged, plan.span_recall) if plan.span_recall else 0.0
        claims = [claim for row in range(len(judged.examples)) for claim in _claims(judged, row, penalty)]
        losses = [_log_loss(claims, float(one)) for one in TEMPERATURES]
        found: Calibration = {"tag_temperature": round(float(TEMPERATURES[int(np.argmin(losses))]), 4)}
        return found | {"outside_penalty": penalty} if penalty else found

    def request(self, body: Mapping[str, Any]) -> list[Example]:
        """``{"text": "..."}`` or ``{"texts": [...]}``; places in the answer count in the text as it was sent."""
        return [Example(content_id({"text": text}), {"text": text}) for text in requested(body)]


def places_of(tokens: Any, text: str) -> Any:
    """[tokens,2] int64: the characters of each word, at its first token; a word is what the tokenizer takes for one."""
    places = np.zeros((len(tokens.ids), 2), dtype=np.int64)
    first: dict[int, int] = {}
    for number, (word, (start, end)) in enumerate(zip(tokens.word_ids, tokens.offsets, strict=True)):
        if word is None or end <= start:
            continue
        if word not in first:
            first[word] = number
            places[number, 0] = start + len(text[start:end]) - len(text[start:end].lstrip())
        places[first[word], 1] = end
    return places


def words_at(places: Any) -> Any:
    """The numbers of the tokens that begin a word."""
    return np.flatnonzero(places[:, 1] > places[:, 0])


def tag_numbers(entities: Sequence[dict[str, Any]], places: Any, schema: Schema) -> Any:
    """[tokens] int64: the number of each word's tag at its first token, -100 elsewhere and for kinds that the schema lacks."""
    names, found, words = (
        tags.tag_names(schema["entities"], schema["scheme"]),
        np.full(len(places), UNKNOWN, dtype=np.int64),
        words_at(places),
    )
    index = {name: number for number, name in enumerate(names)}
    standing = [(int(start), int(end)) for start, end in places[words]]
    written = tags.tags_of(tags.runs_in(entities, standing), len(words), schema["scheme"])
    found[words] = [index.get(tag, UNKNOWN) for tag in written]
    return found


@lru_cache(maxsize=16)
def _walls(names: tuple[str, ...], scheme: tags.Scheme) -> tuple[Any, Any, Any]:
    """What is added to a path's score: [tags,tags] for each step from one tag to the next, [tags] for the first and for the last word."""
    ends = [tags.must_go_on(name, scheme) for name in names]
    steps = [
        [tags.may_follow(a, b) and not (go_on and not (b[:2] in ("I-", "L-") and b[2:] == a[2:])) for b in names]
        for a, go_on in zip(names, ends, strict=True)
    ]
    first = [tags.may_follow("", name) for name in names]
    return tuple(np.where(np.array(one), 0.0, -1e9) for one in (steps, first, [not end for end in ends]))  # type: ignore[return-value]


def likeliest(scores: Any, names: Sequence[str], scheme: tags.Scheme) -> list[int]:
    """The likeliest legal sequence of tags (Viterbi 1967) for ``scores`` [words,tags], log chances."""
    steps, first, last = _walls(tuple(names), scheme)
    best, back = scores[0] + first, []
    for row in scores[1:]:
        from_each = best[:, None] + steps
        before = from_each.argmax(axis=0)
        back.append(before)
        best = from_each[before, np.arange(len(names))] + row
    path = [int((best + last).argmax())]
    for before in reversed(back):
        path.append(int(before[path[-1]]))
    return path[::-1]


def tagged(logits: Any, places: Any, schema: Schema, calibration: Calibration) -> Tagged:
    """What the tags of one text say; ``logits`` [tokens,tags]. A span is as sure as its least sure word."""
    words = words_at(places)
    if not len(words):
        return Tagged([], [], 1.0)
    names, scheme = tags.tag_names(schema["entities"], schema["scheme"]), schema["scheme"]
    raw = _held_back(np.asarray(logits, dtype=np.float64)[words], float(calibration.get("outside_penalty", 0.0)))
    path = likeliest(_log_chances(raw), names, scheme)
    chances = np.exp(_log_chances(raw / float(calibration.get("tag_temperature", 1.0))))[np.arange(len(words)), path]
    runs = tags.runs_of([names[tag] for tag in path])
    found = tags.entities_of(runs, places[words])
    return Tagged(found, [float(chances[run.first : run.last + 1].min()) for run in runs], float(chances.min()))


def _held_back(logits: Any, penalty: float) -> Any:
    """[words,tags] with the outside tag, which is the first, made less likely."""
    return logits - penalty * (np.arange(logits.shape[-1]) == 0)


def _outside_penalty(judged: Judged, recall: float) -> float:
    """The least penalty with which ``recall`` of the words that belong to spans are tagged as part of one; the greatest when none does."""
    names, scheme = tags.tag_names(judged.schema["entities"], judged.schema["scheme"]), judged.schema["scheme"]
    texts = []
    for example, logits, places in zip(judged.examples, judged.outputs["tag_logits"], judged.outputs["places"], strict=True):
        words = words_at(places)
        wanted = tag_numbers(example.target["entities"], places, judged.schema)[words] > 0
        if wanted.any():
            texts.append((np.asarray(logits, dtype=np.float64)[words], wanted))
    for penalty in PENALTIES:
        hits = [np.array(likeliest(_log_chances(_held_back(raw, penalty)), names, scheme))[wanted] > 0 for raw, wanted in texts]
        if not hits or np.concatenate(hits).mean() >= recall:
            return float(penalty)
    return float(PENALTIES[-1])


def _log_chances(logits: Any) -> Any:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _claims(judged: Judged, row: int, penalty: float) -> list[tuple[Any, Any, bool]]:
    """The spans that were found in a row: the logits of each one's words [words,tags], their tags, and whether the span is right."""
    places, names = judged.outputs["places"][row], tags.tag_names(judged.schema["entities"], judged.schema["scheme"])
    words = words_at(places)
    if not len(words):
        return []
    raw = _held_back(np.asarray(judged.outputs["tag_logits"][row], dtype=np.float64)[words], penalty)
    path = np.array(likeliest(_log_chances(raw), names, judged.schema["scheme"]))
    runs = tags.runs_of([names[tag] for tag in path])
    right = {(one["start"], one["end"], one["label"]) for one in judged.examples[row].target["entities"]}
    made = [(one["start"], one["end"], one["label"]) in right for one in tags.entities_of(runs, places[words])]
    return [(raw[run.first : run.last + 1], path[run.first : run.last + 1], true) for run, true in zip(runs, made, strict=True)]


def _log_loss(claims: Sequence[tuple[Any, Any, bool]], temperature: float) -> float:
    """Mean log loss of "this span is right" over all spans that were found; 0 when none was."""
    sure = [float(np.exp(_log_chances(raw / temperature))[np.arange(len(path)), path].min()) for raw, path, _ in claims]
    losses = [-np.log(max(one if true else 1.0 - one, 1e-9)) for one, (_, _, true) in zip(sure, claims, strict=True)]
    return float(np.mean(losses)) if losses else 0.0


def rounded(parts: Any) -> Any:
    """Numbers of an answer as they are sent: six digits."""
    if isinstance(parts, dict):
        return {name: rounded(value) for name, value in parts.items()}
    if isinstance(parts, list):
        return [rounded(value) for value in parts]
    return round(parts, 6) if isinstance(parts, float) else parts
