"""A base model reads unlabelled texts before it learns: what is read, which words become tokens, and that a kill changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.stages.train.conftest import make_base, make_examples

from luthier.core import registry
from luthier.core.errors import InputError
from luthier.core.events import CheckpointWritten, Event
from luthier.core.job import Job
from luthier.core.plan import Plan, PreparePlan, TrainPlan
from luthier.networks import encoder_classifier, masked_language_model
from luthier.stages.train import run
from luthier.stages.train.adapt import adapted
from luthier.stages.train.adapt.added_tokens import vocabulary
from luthier.stages.train.adapt.texts import texts_of
from luthier.store import datasets, files

TASK = registry.get("tasks", "text-classification")
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a", "is", "charge", "##back", "top", "##up", "card", "fee", "new"]
SPECIAL = [0, 1, 2, 3, 4]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with a tokenizer that cuts words into pieces."""
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing

    folder = make_base(tmp_path_factory.mktemp("pieces"), 2)
    words = {word: number for number, word in enumerate([*PIECES, *(f"w{number}" for number in range(49))])}
    tokenizer = Tokenizer(WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in PIECES[:5]])
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


TEXTS = ["The chargeback is new", "a CHARGEBACK fee", "the topup card", "Is the topup new"] * 5 + ["a chargeback"] * 3


def test_words_in_pieces_become_tokens_those_that_cost_most_first(pieces: Path) -> None:
    assert vocabulary(pieces, TEXTS, 9).words == ["chargeback", "topup"]
    made = vocabulary(pieces, TEXTS, 1)
    assert (made.words, made.pieces) == (["chargeback"], [[8, 9]])
    assert made.tokenizer.encode("A Chargeback, the topup").tokens == ["[CLS]", "a", "chargeback", "[UNK]", "the", "top", "##up", "[SEP]"]
    assert (made.mask_token, made.special) == (4, SPECIAL)
    assert vocabulary(pieces, TEXTS[:4], 9).words == []


def test_an_added_tokens_vector_is_the_mean_of_its_pieces(pieces: Path) -> None:
    before = encoder_classifier.load(pieces, 2).encoder.get_input_embeddings().weight
    model = masked_language_model.load(pieces, [[8, 9], [10, 11]], 4, SPECIAL, dropout=0.0, seed=1)
    after = model.encoder.get_input_embeddings().weight
    assert torch.equal(after[: len(before)], before)
    assert torch.allclose(after[len(before)], before[[8, 9]].mean(0))
    assert torch.allclose(after[len(before) + 1], before[[10, 11]].mean(0))
    assert model.config.vocab_size == len(before) + 2


def test_special_tokens_and_padding_are_never_masked(pieces: Path) -> None:
    model = masked_language_model.load(pieces, [], 4, SPECIAL, dropout=0.0, seed=1)
    ids = torch.randint(5, 60, (200, 20), generator=torch.Generator().manual_seed(0))
    ids[:, 0], ids[:, 10] = 2, 3
    real = torch.arange(20).expand(200, 20) <= 10
    torch.manual_seed(3)
    chosen, seen = model.mask(ids, real.long())
    assert not bool((chosen & (~real | (ids < 5))).any())
    assert float(chosen.sum()) / (200 * 9) == pytest.approx(0.15, abs=0.02)
    assert float((seen[chosen] == 4).float().mean()) == pytest.approx(0.8, abs=0.06)
    assert torch.equal(seen[~chosen], ids[~chosen])
    torch.manual_seed(3)
    assert torch.equal(model.mask(ids, real.long())[1], seen)
    assert int(model.mask(torch.tensor([[2, 7, 3]]), None)[0].sum()) == 1


def test_a_base_models_own_layers_for_guessing_are_used(pieces: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(5)
    whole = BertForMaskedLM(BertConfig.from_pretrained(pieces)).eval()
    whole.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((pieces / "tokenizer.json").read_bytes())
    made = masked_language_model.load(tmp_path, [], 4, SPECIAL, dropout=0.0, seed=1).eval()
    ids = torch.randint(5, 60, (3, 8), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(3)
    outputs = made(ids)
    torch.manual_seed(3)
    chosen, seen = made.mask(ids, None)
    assert torch.allclose(outputs["logits"], whole(seen).logits[chosen], atol=1e-5)
    assert torch.equal(outputs["masked"], ids[chosen])


def plan(unlabelled: Path | None = None, **train: Any) -> Plan:
    files_of = [str(unlabelled)] if unlabelled else []
    return Plan(
        name="try",
        task=TASK.name,
        model="tiny",
        prepare=PreparePlan(mask=False),
        train=TrainPlan(unlabelled=files_of, **{"threads": 1, "epochs": 1, "adapt_epochs": 2, "batch_tokens": 96, **train}),
    )


def test_what_is_read_is_masked_different_and_no_row_that_is_held_back(tmp_path: Path) -> None:
    path = tmp_path / "messages.csv"
    path.write_text("text,other\nwrite to jane@example.com,1\nthe card,2\nthe card,3\nkept for the test,4\n,5\n", encoding="utf-8")
    rows = [TASK.example({"text": text, "label": "a"}, None) for text in ("the fee", "kept for the test")]
    found = texts_of(plan(path).model_copy(update={"prepare": PreparePlan()}), TASK, rows[:1], rows[1:])
    assert found == ["write to <EMAIL_1>", "the card", "the fee"]
    with pytest.raises(InputError, match="there is no text that is not a validation or test row too"):
        texts_of(plan(added_tokens=1), TASK, rows[1:], rows[1:])


def test_a_file_without_the_texts_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("number,other\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"odd.csv.*text"):
        texts_of(plan(path), TASK, [], [])


@pytest.fixture
def messages(tmp_path: Path) -> Path:
    """Texts in which each word is followed by the next one: there is something to guess from."""
    rng, path = np.random.default_rng(0), tmp_path / "messages.jsonl"
    starts = rng.integers(4, 50, 300)
    path.write_text("".join(json.dumps({"text": " ".join(f"w{s + n}" for n in range(9))}) + "\n" for s in starts), encoding="utf-8")
    return path


def job(base: Path, dataset: Path, work: Path, made: Plan, cache: str = "") -> Job:
    work.mkdir(parents=True, exist_ok=True)
    inputs = {"dataset": str(dataset), "base": str(base)}
    return Job(id="j", run="r", stage="train", plan=made, inputs=inputs, work=str(work), cache=cache)


def test_the_loss_falls_and_the_folder_is_a_base_model(base: Path, dataset: Path, tmp_path: Path, messages: Path) -> None:
    found = adapted(job(base, dataset, tmp_path / "w", plan(messages, adapt_epochs=25, adapt_learning_rate=1e-2)), TASK, lambda event: None)
    loss = files.read_json(found / "adapted.json")["loss"]
    assert loss[-1] < loss[0] - 0.3
    schema = {"labels": ["a", "b"], "multi_label": False}
    changed, before = (TASK.load(folder, schema).trunk.state_dict() for folder in (found, base))
    assert changed.keys() == before.keys()
    assert not torch.equal(changed["encoder.layer.0.output.dense.weight"], before["encoder.layer.0.output.dense.weight"])
    assert not (tmp_path / "w" / "adapt").exists()


class Killed(Exception):
    """Stands for SIGKILL inside one process."""


def test_a_killed_adaptation_ends_with_identical_weights(base: Path, dataset: Path, tmp_path: Path, messages: Path) -> None:
    made, seen = plan(messages, checkpoint_s=1e-9), 0

    def kill(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, CheckpointWritten)
        if seen == 4:
            raise Killed

    whole = adapted(job(base, dataset, tmp_path / "whole", made), TASK, lambda event: None)
    with pytest.raises(Killed):
        adapted(job(base, dataset, tmp_path / "killed", made), TASK, kill)
    resumed = adapted(job(base, dataset, tmp_path / "killed", made), TASK, lambda event: None)
    assert resumed.name == whole.name
    assert (resumed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert files.read_json(resumed / "adapted.json")["loss"] == files.read_json(whole / "adapted.json")["loss"]


def test_a_training_starts_from_it_and_another_one_shares_it(pieces: Path, tmp_path: Path) -> None:
    folder, train = tmp_path / "data", make_examples(60, 1)
    spoken = [TASK.with_text(row, f"{TASK.text(row)} chargeback") for row in train]
    for name, rows in {"train": spoken[:40], "validation": spoken[40:], "test": []}.items():
        datasets.write_split(folder, name, rows)  # type: ignore[arg-type]
    files.write_json(folder / "schema.json", TASK.schema([row.target for row in train]))
    cache = str(tmp_path / "cache")
    run(job(pieces, folder, tmp_path / "one", plan(added_tokens=5, adapt_epochs=1), cache), lambda event: None)
    out = tmp_path / "one" / "out"
    training = files.read_json(out / "training.json")
    assert training["adapted"] | {"seconds": 0, "base": ""} == {"texts": 40, "tokens": training["adapted"]["tokens"], "added_tokens": 1} | {
        "seconds": 0,
        "base": "",
    }
    assert "chargeback" in json.loads((out / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"][-1]["content"]
    assert TASK.load(out, files.read_json(out / "schema.json")).encoder.get_input_embeddings().weight.shape[0] == 65
    events: list[Event] = []
    run(job(pieces, folder, tmp_path / "two", plan(added_tokens=5, adapt_epochs=1, method="head"), cache), events.append)
    assert not [event for event in events if getattr(event, "phase", "") == "adapt"]
    assert len(list(Path(cache).glob("adapted-*"))) == 1


def test_without_the_fields_the_base_model_is_as_it_is(base: Path, dataset: Path, tmp_path: Path) -> None:
    assert adapted(job(base, dataset, tmp_path, plan()), TASK, lambda event: None) == base
