"""How a language model in torch writes: greedily, many prompts at once. What every faster runtime is compared with."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from luthier.core.types import Arrays
from luthier.networks.language_model import LanguageModel

BATCH_TOKENS = 8192
"""Most positions (prompt and what is still to be written, padding included) that are held at once."""
MOST_ROWS = 64


def write(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    most: int,
    stops: Collection[int],
    batch_tokens: int = BATCH_TOKENS,
    beside: Sequence[Arrays] = (),
) -> list[list[int]]:
    """The likeliest next tokens of each prompt, one after the other: at most ``most``, ending before a token of ``stops``.

    ``beside``: of each prompt what the model is given with it (``model.embedded`` takes it by name); all of one shape.

    Raises ``ValueError`` for an empty prompt. A prompt and what follows it must fit into the model's context; what does not is not written.
    """
    if any(not len(prompt) for prompt in prompts):
        raise ValueError("a prompt holds no token")
    found: list[list[int]] = [[] for _ in prompts]
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for numbers in _batches([len(prompt) for prompt in prompts], most, batch_tokens):
                given = _stacked([beside[n] for n in numbers], model) if beside else {}
                for number, ids in zip(numbers, _together(model, [prompts[n] for n in numbers], most, stops, given), strict=True):
                    found[number] = ids
    finally:
        model.train(was_training)
    return found


def _batches(lengths: Sequence[int], most: int, batch_tokens: int) -> list[list[int]]:
    """Prompt numbers, those of like length together."""
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda n: lengths[n]):
        held = (len(batches[-1]) + 1) * (lengths[number] + most) if batches else 0
        if not batches or held > batch_tokens or len(batches[-1]) == MOST_ROWS:
            batches.append([])
        batches[-1].append(number)
    return batches


def _stacked(parts: Sequence[Arrays], model: LanguageModel) -> dict[str, torch.Tensor]:
    """The same arrays of several prompts as one batch each."""
    device = next(model.parameters()).device
    return {name: torch.as_tensor(np.stack([part[name] for part in parts])).to(device) for name in parts[0]}


def _together(
    model: LanguageModel, prompts: Sequence[Sequence[int]], most: int, stops: Collection[int], given: dict[str, torch.Tensor]
) -> list[list[int]]:
    """Prompts padded at the left, so that the next token of all of them stands in the last column."""
    device = next(model.parameters()).device
    longest = max(map(len, prompts))
    context = getattr(model.config, "max_position_embeddings", None) or longest + most
    room = min(most, int(context) - longest)
    if room < 1:
        return [[] for _ in prompts]
    ids = torch.zeros((len(prompts), longest), dtype=torch.long, device=device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.as_tensor(list(prompt), dtype=torch.long)
        mask[row, longest - len(prompt) :] = 1
    with _only_these_settings(model.decoder, _greedy(room, stops)):
        if given:
            new = model.decoder.generate(inputs_embeds=model.embedded(ids, **given), attention_mask=mask)
        else:
            new = model.decoder.generate(ids, attention_mask=mask)[:, longest:]
    return [_until(row, set(stops)) for row in new.tolist()]


@contextlib.contextmanager
def _only_these_settings(decoder: Any, settings: Any) -> Iterator[None]:
    """Nothing of the model's own: they would sample, or forbid tokens, and ``generate`` takes from them whatever is at its default."""
    own, decoder.generation_config = decoder.generation_config, settings
    try:
        yield
    finally:
        decoder.generation_config = own


def _greedy(most: int, stops: Collection[int]) -> Any:
    from transformers import GenerationConfig

    return GenerationConfig(max_new_tokens=most, do_sample=False, num_beams=1, eos_token_id=sorted(stops) or None, pad_token_id=0)


def _until(ids: list[int], stops: set[int]) -> list[int]:
    return ids[: next((place for place, one in enumerate(ids) if one in stops), len(ids))]
