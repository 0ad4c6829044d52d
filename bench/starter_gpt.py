"""Makes what `recipes/pretrain-starter-gpt.yaml` starts from, and ships what it made: text in pieces, a tokenizer, random weights.

    python bench/starter_gpt.py text FOLDER      # FOLDER/text.jsonl, from ../shared/data/pretraining (or --texts); --share novels=0.25
    python bench/starter_gpt.py base FOLDER      # FOLDER/untrained: config.json, tokenizer.json, random weights
    luthier run recipes/pretrain-starter-gpt.yaml --set data.train=FOLDER/text.jsonl --set model=FOLDER/untrained
    python bench/starter_gpt.py ship MODEL       # src/luthier/catalog/weights/starter-gpt, in bfloat16

The tokenizer is a byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) trained on the same text; the decoder has Llama's shape
(Touvron et al. 2023), since every fast engine runs that.
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TEXTS = Path(__file__).parent.parent.parent / "shared" / "data" / "pretraining"
SHIPPED = Path(__file__).parent.parent / "src" / "luthier" / "catalog" / "weights" / "starter-gpt"
PIECE_CHARACTERS = 6000
"""A piece fits into 2,048 tokens with room to spare."""
SHORT_CHARACTERS = 2000
"""Sources of short texts (dialogues, product descriptions) are joined up to this, an end-of-text between, as they would be packed."""
WORDS = 8192
END, PAD, START, STOP = "<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"
RESERVED = [f"<|reserved_{number}|>" for number in range(12)]
SHAPE = {
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 8,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""How Qwen2 cuts text before BPE (each digit alone): an engine that serves Qwen2 serves this tokenizer."""
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def documents(folder: Path, shares: Mapping[str, float]) -> Iterator[tuple[str, int, str]]:
    """(source, number, text) of every document, or of an evenly spaced share of a source's; dialogues are written as the chat template
    writes them.
    """
    for path in sorted(folder.glob("*.jsonl.xz")):
        source = path.name.split(".")[0]
        share = shares.get(source, 1.0)
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                if int((number + 1) * share) == int(number * share):
                    continue
                text = json.loads(line)["text"]
                yield source, number, _as_chat(text) if source in ("task_dialogues", "taskmaster") else text


def _as_chat(text: str) -> str:
    """``Customer: ...`` and ``Agent: ...`` lines as turns between the template's marks; a line without a speaker goes on with the turn."""
    turns: list[list[str]] = []
    for line in text.split("\n"):
        found = re.match(r"(customer|user|agent|assistant): ?", line, re.IGNORECASE)
        if found:
            role = "user" if found[1].lower() in ("customer", "user") else "assistant"
            turns.append([role, line[found.end() :]])
        elif turns:
            turns[-1][1] += "\n" + line
    return "".join(f"{START}{role}\n{said.strip()}{STOP}\n" for role, said in turns)


def pieces(text: str) -> Iterator[str]:
    """The text in pieces of at most ``PIECE_CHARACTERS``, cut at ends of paragraphs, lines or sentences where there are some."""
    while len(text) > PIECE_CHARACTERS:
        window = text[:PIECE_CHARACTERS]
        cut = max(window.rfind("\n\n"), window.rfind("\n"), window.rfind(". ") + 1)
        cut = cut if cut > PIECE_CHARACTERS // 2 else PIECE_CHARACTERS
        yield text[:cut].strip()
        text = text[cut:]
    if text.strip():
        yield text.strip()


def write_text(texts: Path, folder: Path, shares: Mapping[str, float]) -> None:
    """``text.jsonl``: pieces of long documents, and short ones joined; of some sources a share only (a CPU gets through less)."""
    if unknown := sorted(set(shares) - {path.name.split(".")[0] for path in texts.glob("*.jsonl.xz")}):
        raise SystemExit(f"--share: no source is named {', '.join(unknown)} in {texts}")
    folder.mkdir(parents=True, exist_ok=True)
    waiting: dict[str, list[str]] = {}
    with (folder / "text.jsonl").open("w", encoding="utf-8") as out:

        def put(source: str, number: int, text: str) -> None:
            out.write(json.dumps({"text": text, "source": source, "document": f"{source}-{number}"}, ensure_ascii=False) + "\n")

        for source, number, text in documents(texts, shares):
            if len(text) < SHORT_CHARACTERS:
                short = waiting.setdefault(source, [])
                short.append(text.strip())
                if sum(map(len, short)) > SHORT_CHARACTERS:
                    put(source, number, END.join(waiting.pop(source)))
                continue
            for piece in pieces(text):
                put(source, number, piece)
        for source, short in waiting.items():
            put(source, -1, END.join(short))


def write_base(folder: Path) -> None:
    """``untrained``: what a base model's folder holds, with random weights (seed 17)."""
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    place = folder / "untrained"
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "tokenizer.json").exists():
        train_tokenizer(folder / "text.jsonl").save(str(place / "tokenizer.json"))
    tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
    (place / "tokenizer_config.json").write_text(json.dumps(tokenizer_config(), indent=2) + "\n")
    ends = {"bos_token_id": None, "eos_token_id": [tokenizer.token_to_id(STOP), tokenizer.token_to_id(END)]}
    torch.manual_seed(17)
    config = LlamaConfig(vocab_size=tokenizer.get_vocab_size(), pad_token_id=tokenizer.token_to_id(PAD), **ends, **SHAPE)
    model = LlamaForCausalLM(config)
    model.save_pretrained(place)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {tokenizer.get_vocab_size()} tokens in the vocabulary")


def train_tokenizer(text: Path) -> Any:
    """A byte-level BPE of ``WORDS`` entries, marks of the chat template and a few reserved ones among them."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    marks = [AddedToken(name, special=True, normalized=False) for name in (END, PAD, START, STOP, *RESERVED)]
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS, special_tokens=marks, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=True, min_frequency=2
    )
    with text.open(encoding="utf-8") as lines:
        tokenizer.train_from_iterator((re.sub(r"<\|[a-z_]+\|>", " ", json.loads(line)["text"]) for line in lines), trainer)
    return tokenizer


def tokenizer_config() -> dict[str, Any]:
    """What transformers reads beside ``tokenizer.json``."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": SHAPE["max_position_embeddings"],
        "eos_token": STOP,
        "pad_token": PAD,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }


def ship(model: Path) -> None:
    """The trained model's weights in bfloat16, its configuration and its tokenizer, to be committed."""
    import torch
    from safetensors.torch import load_file, save_file

    SHIPPED.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in load_file(model / "model.safetensors").items()}
    save_file(weights, SHIPPED / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_text())
    (SHIPPED / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}, indent=2) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(model / name, SHIPPED / name)
    print(f"{SHIPPED}: {(SHIPPED / 'model.safetensors').stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["text", "base", "ship"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=Path, default=TEXTS)
    parser.add_argument("--share", action="append", default=[], metavar="SOURCE=0.5", help="use a share of a source's documents")
    given = parser.parse_args()
    if given.what == "text":
        write_text(given.texts, given.folder, {name: float(share) for name, _, share in (one.partition("=") for one in given.share)})
    elif given.what == "base":
        write_base(given.folder)
    else:
        ship(given.folder)


if __name__ == "__main__":
    main()
