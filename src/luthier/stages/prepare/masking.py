"""Masks personal data with Presidio's recognizers before anything is kept; counts kinds, never values.

Presidio's ``AnalyzerEngine`` runs a language pipeline over every text (milliseconds). Here its recognizers are called directly, and only
on texts in which a cheap first look (``core.personal_data.suspect``) finds something that could be personal data. Presidio is imported
when the first such text comes (it loads spaCy, seconds and 300 MB).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from luthier.core import personal_data
from luthier.core.edits import Edit, applied
from luthier.core.errors import InputError, SpecError, UnknownName
from luthier.core.personal_data import Numbers, Span
from luthier.core.plan import PreparePlan

REMEMBERED = 200_000
"""Conversations whose pseudonyms are kept in memory; the one unseen for longest is forgotten first."""

LEAST_SCORE = 0.3
"""Presidio's confidence from which a match counts. Its bare nine-digit SSN patterns (0.05) stay out."""

_PLAUSIBLE_PHONE = re.compile(r"(?:\d[\s().\-/]{0,3}){7,}")
_REGIONS = ("US", "GB", "DE", "FR", "IN", "AU", "BR")


def _presidio(kinds: set[str]) -> dict[str, list[Any]]:
    """Kind -> Presidio recognizers, built without a network: the public suffix list is the one in the package."""
    import tldextract
    from presidio_analyzer import Pattern
    from presidio_analyzer import predefined_recognizers as known

    suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmail(known.EmailRecognizer):  # type: ignore[misc]
        def validate_result(self, pattern_text: str) -> bool:
            return bool(suffixes(pattern_text).fqdn)

    # Presidio's own URL pattern takes "shirt.it" for a site; only what has a scheme, www. or a common ending counts here.
    url = known.UrlRecognizer(patterns=[Pattern("address", personal_data.URL.pattern, 0.6)])
    # Presidio's card pattern misses the 2-series of Mastercard, 12-digit Maestro and 15-digit JCB; the Luhn check is Presidio's.
    card = known.CreditCardRecognizer(
        patterns=[*known.CreditCardRecognizer.PATTERNS, Pattern("all issuers", personal_data.CARD.pattern, 0.3)]
    )
    made: dict[str, Callable[[], Any]] = {
        "EMAIL": OfflineEmail,
        "URL": lambda: url,
        "IBAN": known.IbanRecognizer,
        "CARD": lambda: card,
        "SSN": lambda: known.UsSsnRecognizer(),
        "IP": known.IpRecognizer,
        "PHONE": lambda: known.PhoneRecognizer(supported_regions=_REGIONS, leniency=1),
    }
    return {kind: [make()] for kind, make in made.items() if kind in kinds}


def _names(model: str) -> Callable[[str], Iterable[Span]]:
    """What finds names and places: an exported model of Luthier's own (its folder), or a spaCy pipeline.

    Raises ``InputError`` when there is neither.
    """
    if (Path(model) / "export.json").is_file():
        from luthier.stages.prepare.finder import Finder

        return Finder(Path(model)).spans
    import spacy

    try:
        pipeline = spacy.load(model, disable=["parser", "lemmatizer", "tagger", "attribute_ruler"])
    except OSError:
        hint = f"python -m spacy download {model}, name the folder of an exported token-classification model, or leave it empty"
        raise InputError(f"prepare.ner_model: {model!r} is not installed", hint) from None
    return lambda text: [
        Span(one.start_char, one.end_char, _NER_KINDS[one.label_]) for one in pipeline(text).ents if one.label_ in _NER_KINDS
    ]


_NER_KINDS = {"PERSON": "NAME", "PER": "NAME", "GPE": "PLACE", "LOC": "PLACE", "ORG": "ORGANISATION"}


class Masker:
    """Masks texts; ``counts`` holds how many of each kind were found so far."""

    def __init__(self, plan: PreparePlan, finder: str = "") -> None:
        """``finder``: the exported folder of the model that ``plan.ner_model`` names, when that is no folder itself."""
        unknown = [kind for kind in plan.mask_kinds if kind not in personal_data.KINDS and kind not in plan.mask_patterns]
        if unknown:
            raise UnknownName.among("kind of personal data (prepare.mask_kinds)", unknown[0], [*personal_data.KINDS, *plan.mask_patterns])
        wanted = set(plan.mask_kinds) or {*personal_data.KINDS, *plan.mask_patterns}
        self.on = plan.mask
        self.counts: Counter[str] = Counter()
        self.patterns: dict[str, re.Pattern[str]] = {}
        for kind, pattern in plan.mask_patterns.items():
            try:
                if kind in wanted:
                    self.patterns[kind] = re.compile(pattern, re.IGNORECASE)
            except re.error as error:
                raise SpecError(f"prepare.mask_patterns.{kind}", f"not a regular expression: {error}", "see docs/prepare.md") from None
        self._recognizers: dict[str, list[Any]] | None = None
        self.ner = _names(finder or plan.ner_model) if plan.mask and plan.ner_model else None
        self.wanted = wanted
        self.conversations: OrderedDict[str, Numbers] = OrderedDict()

    def find(self, text: str) -> list[Span]:
        """Personal data in the text, without overlaps, in order."""
        found = list(personal_data.own(text, self.patterns))
        if self.on and personal_data.suspect(text):
            found.extend(self._by_presidio(text))
        found = personal_data.without_overlaps(found) if found else found
        return self._with_names(text, found) if self.ner is not None else found

    def _with_names(self, text: str, sure: list[Span]) -> list[Span]:
        """What a model finds beside what patterns found: where both see something, the patterns are right."""
        assert self.ner is not None
        more = [one for one in self.ner(text) if one.kind in self.wanted]
        free = [one for one in more if all(one.end <= known.start or one.start >= known.end for known in sure)]
        return personal_data.without_overlaps([*sure, *free])

    def _by_presidio(self, written: str) -> Iterable[Span]:
        digits = _PLAUSIBLE_PHONE.search(personal_data.figures(written)) is not None
        if self._recognizers is None:
            self._recognizers = _presidio(self.wanted)
        for kind, recognizers in self._recognizers.items():
            text = personal_data.searched(kind, written)
            if _impossible(kind, text, digits):
                continue
            for recognizer in recognizers:
                flags = {"regex_flags": re.DOTALL | re.MULTILINE | re.IGNORECASE} if kind != "PHONE" else {}
                for result in recognizer.analyze(text, recognizer.supported_entities, None, **flags):
                    value = text[result.start : result.end]
                    if result.score >= LEAST_SCORE and _kept(kind, value):
                        yield Span(result.start, result.end, kind)
            if kind == "PHONE":
                # Presidio asks whether a number is assigned; one that is written like a phone number is masked even if it is not.
                yield from personal_data.find(text, ["PHONE"])
            elif kind in ("IBAN", "EMAIL"):
                # Presidio's IBAN recognizer ignores the flags, and its address must end in a public suffix: neither small letters
                # nor the mail of an intranet (ann@intranet.local) are found by it.
                yield from personal_data.find(text, [kind])

    def mask(self, text: str, conversation: str = "") -> str:
        """The text with pseudonyms (``<EMAIL_1>``), the same for the same value inside a conversation ("": this text alone)."""
        edits = self.edits(text, conversation)
        return applied(text, edits) if edits else text

    def edits(self, text: str, conversation: str = "") -> list[Edit]:
        """What ``mask`` replaces, in order of place."""
        spans = self.find(text) if self.on else []
        if not spans:
            return []
        self.counts.update(span.kind for span in spans)
        return personal_data.edits(text, spans, self._numbers(conversation))

    def _numbers(self, conversation: str) -> Numbers:
        if not conversation:
            return {}
        numbers = self.conversations.setdefault(conversation, {})
        self.conversations.move_to_end(conversation)
        if len(self.conversations) > REMEMBERED:
            self.conversations.popitem(last=False)
        return numbers

    def group(self, value: str) -> str:
        """A group's name, or its hash when the name itself is personal data (an e-mail address as conversation id)."""
        if not self.on or not value or not self.find(value):
            return value
        return "group-" + hashlib.blake2b(value.encode(), digest_size=8).hexdigest()


def _impossible(kind: str, text: str, digits: bool) -> bool:
    """Whether the kind cannot be in the text, by a look that costs nothing beside the recognizer."""
    if kind == "EMAIL":
        return "@" not in text
    if kind in ("PHONE", "CARD", "SSN"):
        return not digits
    if kind == "IP":
        return text.count(".") < 3 and text.count(":") < 2
    return kind == "URL" and "." not in text


def _kept(kind: str, value: str) -> bool:
    if kind == "IP":
        return personal_data.address(value.split("/")[0].split("%")[0])
    if kind == "PHONE":
        return personal_data.phone_like(value)
    return True
