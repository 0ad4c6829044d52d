"""The small input that the checks make: rows, a model of a few thousand weights, judged answers, files, events, a job."""

from __future__ import annotations

import atexit
import base64
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np

from luthier.core import registry
from luthier.core.events import EVENTS, Event, NoteSaid, StageProgressed
from luthier.core.images import to_data_url
from luthier.core.job import Job
from luthier.core.plan import Plan
from luthier.core.ports import Judged
from luthier.core.types import Example, Place, Schema, content_id
from luthier.stages.inference import predict
from luthier.stages.train.reference import compared
from luthier.store import files

LABELS = ("account", "delivery", "refund")
_WORDS = ("please", "hello", "where", "is", "my", "it", "still", "today", "thanks", "again", "broken", "slow")
AWKWARD = 'größe "quoted" [bold] [/odd] {x} 100 % 🎻'
"""A text that is hard on whatever shows or stores it."""


def folder() -> Path:
    """A temporary folder that is removed when the process ends."""
    path = Path(tempfile.mkdtemp(prefix="luthier-testing-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def rows(count: int = 24, *, several: bool = False, seed: int = 1) -> list[dict[str, Any]]:
    """Rows with ``text`` (3 to 9 words, one of them the label's) and ``label`` (a list of labels when ``several``).

    The same as ``intents``; ``entities`` are the places of the labels' words (``topic``) and of the last word (``number``).
    """
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        label = LABELS[number % 3]
        words = [str(word) for word in random.choice(_WORDS, int(random.integers(2, 9)))]
        other = LABELS[(number + 1) % 3]
        asked = ([label, other] if number % 2 else [label]) if several else label
        words += [label, *([other] if several and number % 2 else []), f"w{number}"]
        found.append(
            {
                "text": " ".join(words),
                "label": asked,
                "channel": "mail" if number % 4 else "phone",
                "intents": asked,
                "summary": label,
                "image": picture(number, LABELS.index(label)),
                "caption": label,
                "preferred_output": [{"role": "assistant", "content": label}],
                "non_preferred_output": [{"role": "assistant", "content": other}],
                "messages": [{"role": "user", "content": " ".join(words)}, {"role": "assistant", "content": label}],
                "entities": _entities(words),
            }
        )
    return found


def picture(number: int, kind: int, seed: int = 0) -> str:
    """A picture of 16 x 16 pixels as a data URL, another one for each number; its colour says its kind (0 red, 1 green, 2 blue)."""
    from PIL import Image

    noise = np.random.default_rng([seed, number]).integers(0, 90, (16, 16, 3), dtype=np.uint8)
    noise[..., kind] += 140
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    return to_data_url(out.getvalue(), "png")


def _entities(words: list[str]) -> list[dict[str, Any]]:
    starts = np.cumsum([0, *(len(word) + 1 for word in words)]).tolist()
    kinds = ["topic" if word in LABELS else "" for word in words[:-1]] + ["number"]
    placed = zip(words, starts, kinds, strict=False)
    return [{"start": start, "end": start + len(word), "label": kind} for word, start, kind in placed if kind]


def examples(count: int, *, several: bool = False, seed: int = 1) -> list[Example]:
    """The rows as examples of text classification."""
    return [
        Example(content_id({"text": row["text"]}), {"text": row["text"]}, sorted(row["label"]) if several else row["label"])
        for row in rows(count, several=several, seed=seed)
    ]


def schema(*, several: bool = False) -> Schema:
    """The schema of these examples."""
    return {"labels": list(LABELS), "multi_label": several, "max_tokens": 32}


def judged(count: int = 60, *, several: bool = False, right: bool = False) -> Judged:
    """Answers of a model that is often right, or always."""
    task = registry.get("tasks", "text-classification")
    asked = examples(count, several=several, seed=2)
    marks = np.array([[label in (one.target if several else [one.target]) for label in LABELS] for one in asked])
    noise = 0.0 if right else np.random.default_rng(3).normal(0, 1.5, marks.shape)
    logits = (2.0 * marks - 1.0 + noise).astype(np.float32)
    outputs = {"logits": logits}
    predictions = task.decode([one.id for one in asked], outputs, schema(several=several), {})
    return Judged(asked, predictions, outputs, schema(several=several))


def answered(task: Any, count: int = 60) -> Judged:
    """The answers of an untrained model of any task that reads made rows."""
    asked = [task.example(row, Place("made.csv", number)) for number, row in enumerate(rows(count, seed=2), 2)]
    form = task.schema([one.target for one in asked])
    place = base(architecture=task.architectures[0])
    items = task.encode(asked, task.processor(place, form), form)
    model = task.load(place, form, seed=5)
    outputs = predict(task, model, compared(task, model, items))
    return Judged(asked, task.decode([one.id for one in asked], outputs, form, {}), outputs, form)


@cache
def base(layers: int = 2, architecture: str = "encoder") -> Path:
    """The folder of a BERT (for ``decoder`` a Llama, for ``vision`` a ResNet and that Llama), 32 wide, with random weights and a tokenizer
    of whole words; made once a process.
    """
    if architecture == "vision":
        return _seeing(base(layers, "decoder"))
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "</s>", *_WORDS, *LABELS, *(f"w{number}" for number in range(60))]
    place = folder()
    shape = {"hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 64}
    shape |= {"vocab_size": len(words), "max_position_embeddings": 64}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if architecture == "decoder":
            LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=1, tie_word_embeddings=True)).save_pretrained(place)
        else:
            BertModel(BertConfig(**shape)).save_pretrained(place)
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(place / "tokenizer.json"))
    return place


def _seeing(decoder: Path) -> Path:
    """A captioning base of a small ResNet that reads 32 x 32 pixels, and the decoder."""
    import torch
    from transformers import ResNetConfig, ResNetModel

    from luthier.networks import captioner

    vision = folder()
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ResNetModel(ResNetConfig(**sizes)).save_pretrained(vision)
    files.write_json(vision / "preprocessor_config.json", {"size": {"height": 32, "width": 32}, "image_mean": 0.5, "image_std": 0.5})
    return captioner.compose(vision, decoder, folder() / "base")


def card(layers: int) -> dict[str, Any]:
    """What a catalog says about a model of that many layers."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "vocab_size": 80}
    return {**sizes, "num_hidden_layers": layers, "tokens": 12, "classes": len(LABELS)}


def _task(text: str, label: str) -> dict[str, Any]:
    """A task of Label Studio with one annotation."""
    said = {"type": "choices", "from_name": "label", "to_name": "text", "value": {"choices": [label]}}
    return {"data": {"text": text}, "annotations": [{"result": [said]}]}


def data_files(place: Path) -> list[Path]:
    """The same rows as files of every kind that is known here; Parquet and Arrow only where pyarrow is installed."""
    made = [(row["text"], row["label"]) for row in rows(30)]
    pairs = [{"text": text, "label": label} for text, label in made]
    chats = [{"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": label}]} for text, label in made]
    texts = {
        "made.csv": "text,label\n" + "".join(f"{text},{label}\n" for text, label in made),
        "made.tsv": "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in made),
        "made.jsonl": "".join(json.dumps(pair) + "\n" for pair in pairs),
        "chats.jsonl": "".join(json.dumps(chat) + "\n" for chat in chats),
        "pairs.jsonl": "".join(
            json.dumps(
                {
                    "input": {"messages": [{"role": "user", "content": text}]},
                    "preferred_output": [{"role": "assistant", "content": label}],
                    "non_preferred_output": [{"role": "assistant", "content": f"no {label}"}],
                }
            )
            + "\n"
            for text, label in made
        ),
        "completions.jsonl": "".join(json.dumps({"prompt": text, "completion": label}) + "\n" for text, label in made),
        "tasks.json": json.dumps([_task(text, label) for text, label in made]),
        "made.conll": "\n".join(
            "".join(f"{word} {'B-topic' if word == label else 'O'}\n" for word in text.split()) for text, label in made
        ),
    }
    for name, text in texts.items():
        (place / name).write_text(text, encoding="utf-8")
    found = [place / name for name in texts]
    if find_spec("pyarrow"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pylist(pairs)
        pq.write_table(table, place / "made.parquet")
        (place / "saved").mkdir()
        with pa.ipc.new_stream(str(place / "saved" / "data.arrow"), table.schema) as writer:
            writer.write_table(table)
        files.write_json(place / "saved" / "state.json", {"_data_files": [{"filename": "data.arrow"}]})
        found += [place / "made.parquet", place / "saved"]
    return [*found, *_pictures(place)]


def _pictures(place: Path) -> list[Path]:
    """Rows of pictures as a folder, as a table beside their files, and as chats."""
    some = [(row["image"], row["caption"]) for row in rows(12)]
    folder, table, chats = place / "shots", place / "shots.csv", place / "looks.jsonl"
    folder.mkdir()
    for number, (url, _) in enumerate(some):
        (folder / f"{number}.png").write_bytes(base64.b64decode(url.partition(",")[2]))
    lines = [json.dumps({"file_name": f"{number}.png", "caption": caption}) + "\n" for number, (_, caption) in enumerate(some)]
    (folder / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    table.write_text("photo,caption\n" + "".join(f"shots/{n}.png,{caption}\n" for n, (_, caption) in enumerate(some)), encoding="utf-8")
    asked = [[{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}] for url, _ in some]
    said = zip(asked, (caption for _, caption in some), strict=True)
    turns = [[{"role": "user", "content": one}, {"role": "assistant", "content": caption}] for one, caption in said]
    chats.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in turns), encoding="utf-8")
    return [folder, table, chats]


def events() -> Iterator[Event]:
    """One event of every class at least, and the ones that are hard to show: unknown totals, every level of note."""
    for cls in EVENTS.values():
        fields = {name: _value(field.annotation) for name, field in cls.model_fields.items() if field.is_required()}
        yield cls(**fields)
    for done, total in ((0.0, 0.0), (3.0, 0.0), (3.0, 4.0)):
        yield StageProgressed(stage="train", phase="steps", done=done, total=total, figures={"loss": 0.5, "mfu": 0.1, "rows_per_s": 10.0})
    for level in ("info", "warning", "error"):
        yield NoteSaid(level=level, text=AWKWARD, data={"list": [1, "two"]})


def _value(kind: Any) -> Any:
    if kind in (float, int, bool):
        return kind(1)
    if get_origin(kind) is dict:
        return {"loss": 1 if get_args(kind)[1] is int else 0.5}
    return [] if get_origin(kind) is list else AWKWARD


def job(work: Path) -> Job:
    """A job that a stage process ends at once: its work is done already."""
    files.write_json(work / "done.json", {"rows": 3})
    plan = Plan(name="made", task="text-classification", model="made")
    return Job(id="made-job", run="made-run", stage="prepare", plan=plan, work=str(work))
