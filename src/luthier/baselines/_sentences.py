"""Sentences of a document: cut at ends of sentences and at empty lines, not behind the abbreviations of laws and contracts."""

from __future__ import annotations

import re

ABBREVIATIONS = {
    *("sec", "secs", "no", "nos", "art", "arts", "par", "subsec", "cl", "stat", "pub", "u.s", "u.s.c", "d.c", "cf", "e.g", "i.e", "etc"),
    *("inc", "co", "corp", "ltd", "v", "vs", "mr", "mrs", "ms", "dr", "st", "jan", "feb", "aug", "sept", "oct", "nov", "dec"),
}
_END = re.compile(r"(?<=[.!?;])[\"')\]”’]*\s+(?=[\"'(\[“‘A-Z0-9])")
_LAST_WORD = re.compile(r"([\w.]+)\.$")


def sentences(text: str) -> list[str]:
    """The sentences in order, without white space around them.

    >>> sentences("SEC. 2. The fee is $5. It is due\\n\\nNo refund.")
    ['SEC. 2. The fee is $5.', 'It is due', 'No refund.']
    """
    found = []
    for block in re.split(r"\n\s*\n", text):
        held = ""
        for part in _END.split(block):
            held = f"{held} {part}".strip() if held else part.strip()
            word = _LAST_WORD.search(held)
            if word and (word[1].lower() in ABBREVIATIONS or word[1].isdigit() or len(word[1]) == 1):
                continue
            if held:
                found.append(" ".join(held.split()))
            held = ""
        if held:
            found.append(" ".join(held.split()))
    return found
