"""Written together, prompts are answered as each alone is, without a cache and without padding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from luthier.networks import generation, language_model
from luthier.networks.language_model import LanguageModel
from luthier.testing import made


def _gpt2(place: Path) -> Path:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(2)
    GPT2LMHeadModel(GPT2Config(vocab_size=80, n_positions=48, n_embd=32, n_layer=2, n_head=2)).save_pretrained(place)
    return place


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    place = made.base(architecture="decoder") if request.param == "llama" else _gpt2(tmp_path_factory.mktemp("gpt2"))
    found = language_model.load(place, seed=4)
    with torch.no_grad():  # sharper, so that no two tokens are nearly as likely
        found.decoder.get_output_embeddings().weight.mul_(8)
    return found.eval()


def _one_by_one(model: LanguageModel, prompt: list[int], most: int, stops: set[int]) -> list[int]:
    ids, new = list(prompt), []
    with torch.inference_mode():
        for _ in range(most):
            following = int(model.decoder(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            if following in stops:
                break
            ids.append(following)
            new.append(following)
    return new


def _prompts(count: int, vocabulary: int = 70) -> list[list[int]]:
    draw = torch.Generator().manual_seed(7)
    return [torch.randint(5, vocabulary, (1 + n * 5 % 17,), generator=draw).tolist() for n in range(count)]


def test_together_as_alone(model: LanguageModel) -> None:
    prompts = _prompts(9)
    free = [_one_by_one(model, prompt, 10, set()) for prompt in prompts]
    assert generation.write(model, prompts, 10, ()) == free
    assert generation.write(model, prompts, 10, (), batch_tokens=40) == free


def test_a_stop_ends_a_text_and_is_not_in_it(model: LanguageModel) -> None:
    prompts = _prompts(6)
    stops = {ids[4] for ids in (_one_by_one(model, prompt, 10, set()) for prompt in prompts)}
    found = generation.write(model, prompts, 10, stops)
    assert found == [_one_by_one(model, prompt, 10, stops) for prompt in prompts]
    assert all(len(ids) < 10 for ids in found)


def test_what_does_not_fit_the_context_is_not_written(model: LanguageModel) -> None:
    context = model.config.max_position_embeddings
    full, nearly = [5] * context, [5] * (context - 2)
    assert [len(ids) for ids in generation.write(model, [full, nearly], 10, (), batch_tokens=1)] == [0, 2]


def test_settings_that_came_with_the_model_are_not_used(model: LanguageModel) -> None:
    before = generation.write(model, _prompts(3), 6, ())
    model.decoder.generation_config.do_sample = True
    model.decoder.generation_config.repetition_penalty = 5.0
    assert generation.write(model, _prompts(3), 6, ()) == before


def test_training_goes_on_as_before_and_empty_prompts_are_refused(model: LanguageModel) -> None:
    model.train()
    generation.write(model, _prompts(1), 2, ())
    assert model.training
    model.eval()
    assert generation.write(model, [], 4, ()) == []
    with pytest.raises(ValueError, match="no token"):
        generation.write(model, [[5], []], 4, ())
