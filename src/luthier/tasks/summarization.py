"""Summarization: a document in, what it says in a few plain words out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from luthier.core.chat_template import PLAIN, Segment
from luthier.core.errors import RowError
from luthier.core.types import Column, Example, Place, Prediction, Schema, content_id
from luthier.tasks._text import requested, text_of
from luthier.tasks._written import MAX_TOKENS, Processor, Writes, limits

TEXT, SUMMARY = "text", "summary"
ASK = "Say in plain English what this means:"


class Summarization(Writes):
    """A base with a chat template is asked as a user would ask; one without reads the document, ``In short:`` and the summary.

    A document that is longer than the model reads is cut at its beginning's end: laws and contracts say first what they are about.
    """

    name = "summarization"
    summary = "plain-English summaries of documents, with a GPT"
    columns = (
        Column(TEXT, "the document", aliases=("document", "article", "body", "content", "original_text", "bill")),
        Column(SUMMARY, "what it says, in a few words", aliases=("target", "title", "abstract", "reference_summary")),
    )
    primary_metric = "rouge_l"
    metrics = ("rouge", "perplexity", "bleu", "faithfulness", "text-length", "repetition")
    baselines = ("lead-1", "textrank", "untouched", "from-scratch")

    def example(self, row: Mapping[str, Any], place: Place) -> Example:
        """Raises ``RowError`` for a row without a document or a summary."""
        text, said = text_of(row.get(TEXT)).strip(), text_of(row.get(SUMMARY), SUMMARY).strip()
        if len(said) > len(text):
            raise RowError(SUMMARY, "is longer than the document", "are the two columns mixed up? map them the other way round")
        rest = {key: value for key, value in row.items() if key not in (TEXT, SUMMARY)}
        return Example(content_id({TEXT: text}), {TEXT: text}, said, "", str(place), rest)

    def schema(self, targets: Iterable[Any]) -> Schema:
        """Raises ``InputError`` when there is nothing to learn from."""
        return limits(targets, SUMMARY)

    def segments(self, example: Example, processor: Processor, schema: Schema) -> list[Segment]:
        """The document cut to what leaves room for the summary."""
        text, said = str(example.inputs[TEXT]), example.target
        most = int(schema.get("max_tokens", MAX_TOKENS)) - self.most_new_tokens(schema) - 32
        text = shortened(text, processor, max(most, 32))
        if processor.template.name == PLAIN:
            asked = [Segment(f"{text}\n\nIn short:", False)]
            return asked if said is None else [*asked, Segment(f" {said}", True)]
        messages = [{"role": "user", "content": f"{ASK}\n\n{text}"}]
        if said is None:
            return [Segment(processor.template.rendered(messages, asks=True), False)]
        return processor.template.segments([*messages, {"role": "assistant", "content": str(said)}])

    def pieces(self, example: Example) -> list[str]:
        """The document, then the summary."""
        return [str(example.inputs[TEXT])] + ([] if example.target is None else [str(example.target)])

    def with_text(self, example: Example, text: str) -> Example:
        """Another document, and the id of it."""
        return replace(example, id=content_id({TEXT: text}), inputs={TEXT: text})

    def rebuilt(self, example: Example, pieces: Sequence[str]) -> Example:
        """Document and summary put back."""
        target = example.target if example.target is None else pieces[1]
        return replace(example, inputs={**example.inputs, TEXT: pieces[0]}, target=target)

    def request(self, body: Mapping[str, Any]) -> list[Example]:
        """``{"text": "..."}`` or ``{"texts": [...]}``; raises ``InputError``."""
        return [Example(content_id({TEXT: text}), {TEXT: text}) for text in map(str.strip, requested(body))]

    def answer(self, prediction: Prediction, *, scores: bool = False) -> dict[str, Any]:
        """``{id, summary}``."""
        return {"id": prediction.id, "summary": prediction.output or ""}


def shortened(text: str, processor: Processor, most: int) -> str:
    """The text's beginning, at most ``most`` tokens long, cut at the end of a token's characters."""
    if len(text) <= most:  # a token is a character at the least
        return text
    found = processor.tokenizer.encode(text[: most * 16], add_special_tokens=False)
    return text if len(found.ids) <= most and len(text) <= most * 16 else text[: found.offsets[min(most, len(found.ids)) - 1][1]]


plugin = Summarization()
