"""Makes the starter captioner: a small ResNet trained on product photos, a small decoder on product texts, and the base of both.

    python bench/starter_captioner.py vision FOLDER       # FOLDER/vision: ResNet of 2.8 M parameters (20 minutes on a CPU core)
    python bench/starter_captioner.py decoder FOLDER      # FOLDER/decoder: Llama-shaped, 1.8 M parameters, its own byte-level BPE
    python bench/starter_captioner.py ship FOLDER         # src/luthier/catalog/weights/starter-captioner, in bfloat16

The photos: `../shared/data/products`: groceries, and half of the shop's and the clothes' products (`real_data.for_starter`); the other half
is what bench/captions.py trains and tests on, so that no tested product was ever seen. Beside them drawn pictures, only of those pairs of
colour and article that `recipes/product-captions.yaml` trains on: the pairs of its test rows are new to the starter, too. The decoder reads
the descriptions of the same half of the shop, and reviews' pros and cons; captions of drawn pictures would teach it which colours and
articles stand together, and it would look no more (design/LOG.md).
"""

from __future__ import annotations

import argparse
import json
import lzma
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from real_data import PRODUCTS, for_starter
from starter_gpt import END, TEXTS, tokenizer_config, train_tokenizer

SHIPPED = Path(__file__).parent.parent / "src" / "luthier" / "catalog" / "weights" / "starter-captioner"
SIDE, BATCH, EPOCHS, RATE = 96, 64, 10, 2e-3
VISION = {"embedding_size": 32, "hidden_sizes": [32, 64, 128, 256], "depths": [2, 2, 2, 2], "layer_type": "basic"}
DECODER = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}
WORDS = 2048
RECIPE = Path(__file__).parent.parent / "recipes" / "product-captions.yaml"
DRAWN, DRAWN_SEED = 6000, 2_000_003


def photos() -> tuple[list[Any], list[dict[str, str]]]:
    """uint8 [3,SIDE,SIDE] of each photo, and what is known of it."""
    from luthier.core import images

    how = images.Settings(resize=(SIDE, SIDE))
    pixels, facts = [], []
    for name in ("clothing", "grocery", "shop"):
        with tarfile.open(PRODUCTS / name / "images.tar") as tar:
            for line in (PRODUCTS / name / "metadata.jsonl").open():
                row = json.loads(line)
                if name != "grocery" and not for_starter(name, row):
                    continue
                handle = tar.extractfile(row["file_name"])
                assert handle is not None
                pixels.append(images.pixels(images.read(handle.read()), how))
                kind = row.get("label") or row.get("name") or "/".join(row["category"].split("/Collections")[0].split("/")[-3:])
                facts.append({"kind": f"{name}/{kind}", **({"colour": row["color"]} if row.get("color") else {})})
    return pixels, facts


def drawn_rows(folder: Path) -> list[dict[str, Any]]:
    """Made pictures, other ones than the recipe's, and only of pairs of colour and article that the recipe trains on."""
    from luthier.app.service import Service
    from luthier.catalog import made
    from luthier.core.spec import make_spec, read_spec
    from luthier.store import datasets

    service = Service(str(folder / "home"))
    recipe = read_spec(RECIPE).model_dump(exclude_unset=True) | {"model": str(folder / "any"), "deploy": {}}
    dataset = service.prepare(service.plan(make_spec(recipe), check_memory=False)) if (folder / "any").exists() else None
    if dataset is None:
        raise SystemExit(f"{folder / 'any'}: a captioning base of any kind is needed to plan the recipe (compose one)")
    pairs = {example.columns["pair"] for example in datasets.read_split(Path(dataset.path), "train")}
    return [row for row in made.make("product-pictures", DRAWN, DRAWN_SEED) if row["pair"] in pairs]


def drawings(folder: Path) -> tuple[list[Any], list[dict[str, str]]]:
    """Their pixels, and what is known of them."""
    from luthier.core import images

    how, rows = images.Settings(resize=(SIDE, SIDE)), drawn_rows(folder)
    named = ("article", "colour", "pattern", "material", "view", "background")
    pixels = [images.pixels(images.read(row["image"]), how) for row in rows]
    return pixels, [{f"drawn {name}": row[name] for name in named} for row in rows]


def train_vision(folder: Path) -> None:
    """Everything that is known of a picture, learned together; one in ten is held out and gives the accuracies that are printed."""
    import torch
    from torch import nn
    from torch.nn import functional
    from transformers import ResNetConfig, ResNetModel

    torch.manual_seed(17)
    (real, said), (drawn, told) = photos(), drawings(folder)
    values, facts = torch.from_numpy(np.stack([*real, *drawn])), [*said, *told]
    names = list(dict.fromkeys(name for one in facts for name in one))
    classes = {name: sorted({one[name] for one in facts if name in one}) for name in names}
    right = {name: torch.tensor([classes[name].index(one[name]) if name in one else -1 for one in facts]) for name in names}
    order = torch.randperm(len(facts))
    held, learn = order[: len(order) // 10], order[len(order) // 10 :]
    net = ResNetModel(ResNetConfig(**VISION))
    heads = nn.ModuleDict({name: nn.Linear(VISION["hidden_sizes"][-1], len(classes[name])) for name in names})
    count = sum(one.numel() for one in net.parameters())
    print(f"{count:,} parameters, {len(real)} photos, {len(drawn)} drawings, {[len(one) for one in classes.values()]} classes", flush=True)
    optimizer = torch.optim.AdamW([*net.parameters(), *heads.parameters()], lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * (len(learn) // BATCH), pct_start=0.15)

    def seen(rows: Any, *, changed: bool) -> Any:
        some = values[rows].float() / 127.5 - 1.0
        if changed:  # turned over, cut to 80 to 100 %, lighter or darker
            some = some.flip(3) if torch.rand(()) < 0.5 else some
            size = int(SIDE * (0.8 + 0.2 * float(torch.rand(()))))
            top, left = (int(torch.randint(0, SIDE - size + 1, ())) for _ in range(2))
            some = functional.interpolate(some[:, :, top : top + size, left : left + size], SIDE, mode="bilinear")
            some = some * (0.85 + 0.3 * torch.rand(len(some), 1, 1, 1))
        return net(pixel_values=some).pooler_output.flatten(1)

    start, found = time.time(), {}
    for epoch in range(EPOCHS):
        net.train()
        shuffled = learn[torch.randperm(len(learn))]
        for at in range(0, len(shuffled) - BATCH + 1, BATCH):
            rows = shuffled[at : at + BATCH]
            vectors = seen(rows, changed=True)
            known = {name: right[name][rows] >= 0 for name in names}
            loss = sum(
                functional.cross_entropy(heads[name](vectors[known[name]]), right[name][rows][known[name]], label_smoothing=0.05)
                for name in names
                if known[name].any()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.inference_mode():
            vectors = torch.cat([seen(held[at : at + 256], changed=False) for at in range(0, len(held), 256)])
            for name in names:
                known_rows = right[name][held] >= 0
                guessed = heads[name](vectors[known_rows]).argmax(1)
                found[name] = round(float((guessed == right[name][held][known_rows]).float().mean()), 4)
        print(f"epoch {epoch + 1}: held out: {found}, {time.time() - start:.0f} s", flush=True)
    place = folder / "vision"
    net.save_pretrained(place)
    size = {"size": {"height": SIDE, "width": SIDE}, "resample": 2}
    config = {"image_processor_type": "ViTImageProcessor", **size, "image_mean": 0.5, "image_std": 0.5}
    (place / "preprocessor_config.json").write_text(json.dumps(config, indent=2) + "\n")
    learned = {"photos": len(real), "drawings": len(drawn), "held_out": len(held), "accuracy": found, "epochs": EPOCHS}
    (folder / "vision.json").write_text(json.dumps(learned, indent=2) + "\n")


def train_decoder(folder: Path) -> None:
    """The task language-modeling on product texts, from random weights."""
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    import starter_gpt
    from luthier.app.service import Service
    from luthier.core.spec import make_spec

    texts, place = folder / "texts.jsonl", folder / "untrained"
    place.mkdir(parents=True, exist_ok=True)
    with texts.open("w", encoding="utf-8") as out:
        for text in product_texts():
            out.write(json.dumps({"text": text}) + "\n")
    starter_gpt.WORDS = WORDS
    train_tokenizer(texts).save(str(place / "tokenizer.json"))
    (place / "tokenizer_config.json").write_text(json.dumps(tokenizer_config(), indent=2) + "\n")
    tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
    torch.manual_seed(17)
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.token_to_id(END), "pad_token_id": tokenizer.token_to_id("<|pad|>")}
    LlamaForCausalLM(LlamaConfig(vocab_size=tokenizer.get_vocab_size(), **ends, **DECODER)).save_pretrained(place)
    service = Service(str(folder / "home"))
    plan = service.plan(
        make_spec(
            {
                "name": "starter-captioner-decoder",
                "task": "language-modeling",
                "model": str(place),
                "data": {"train": str(texts)},
                "prepare": {"mask": False, "near_duplicates": 1.0},
                "train": {"epochs": 2, "learning_rate": 2e-3, "batch_tokens": 4096, "dropout": 0.0, "fitted_head": False, "threads": 1},
            }
        )
    )
    model = service.train(plan, service.prepare(plan))
    print(json.dumps(json.loads((Path(model.path) / "training.json").read_text())["best_metric"]))
    (folder / "decoder").unlink(missing_ok=True)
    (folder / "decoder").symlink_to(model.path)


def product_texts() -> list[str]:
    """Sentences about products: the shop's own (its starter half), and reviews' pros and cons."""
    found = []
    for line in (PRODUCTS / "shop" / "metadata.jsonl").open():
        row = json.loads(line)
        if for_starter("shop", row):
            found += [row["text"], row.get("description") or ""]
    with lzma.open(TEXTS / "pros_cons.jsonl.xz", "rt", encoding="utf-8") as lines:
        found += [json.loads(line)["text"][:600] for line in lines]
    return [text for text in dict.fromkeys(found) if text.strip()]


def ship(folder: Path) -> None:
    """The base with weights in bfloat16, to be committed."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    from luthier.networks import captioner

    shutil.rmtree(SHIPPED, ignore_errors=True)
    captioner.compose(folder / "vision", folder / "decoder", SHIPPED)
    for path in SHIPPED.glob("*/model.safetensors"):
        weights = {name: one.to(torch.bfloat16) if one.is_floating_point() else one for name, one in load_file(path).items()}
        save_file({name: one.contiguous() for name, one in weights.items()}, path, metadata={"format": "pt"})
        print(path, f"{path.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["vision", "decoder", "ship"])
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    {"vision": train_vision, "decoder": train_decoder, "ship": ship}[given.what](given.folder)


if __name__ == "__main__":
    main()
