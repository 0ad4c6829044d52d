"""ONNX Runtime GenAI: Llama-, Qwen-, Phi-, Mistral- and Gemma-shaped models in fp32, int8 or int4; fastest for one stream on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import Damaged, InputError, MissingExtra, NotPossible
from luthier.core.writing import Sampling, Writer, Wrote
from luthier.store import files

KINDS = ("llama", "qwen2", "qwen3", "mistral", "phi", "phi3", "gemma", "gemma2", "gemma3_text", "smollm3", "olmo", "granite")
"""``model_type`` of a configuration that the library's builder takes; GPT-2's learned positions it refuses."""
PRECISIONS = {32: "fp32", 8: "int8", 4: "int4"}
MADE = "genai_config.json"
BUILD_S = 1800


class OnnxruntimeGenai:
    """See the module. Texts that are written at the same time take turns, a token each: nobody waits for another one's end."""

    name = "onnxruntime-genai"
    summary = "ONNX Runtime GenAI, fp32, int8 or int4 weights (extra: genai)"
    writes = True
    precisions = tuple(PRECISIONS)

    def missing(self) -> str:
        """Why it cannot be used ("" when it can)."""
        return "" if find_spec("onnxruntime_genai") else str(MissingExtra("onnxruntime-genai", "genai"))

    def fits(self, config: Mapping[str, Any]) -> str:
        """Why a model cannot run there ("" when it can)."""
        kind = str(config.get("model_type", ""))
        return "" if kind in KINDS else f"ONNX Runtime GenAI has no form for a {kind or 'nameless'} model; known: {', '.join(KINDS)}"

    def convert_model(self, model: Path, folder: Path, bits: int) -> None:
        """By the library's own builder, in a process of its own: it changes where modules are found. Asks no network.

        Raises ``NotPossible`` with the builder's last words.
        """
        with tempfile.TemporaryDirectory() as cache:
            asked = ["-i", str(model), "-o", str(folder), "-p", PRECISIONS[bits], "-e", "cpu", "-c", cache]
            offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
            done = subprocess.run(
                [sys.executable, "-m", "onnxruntime_genai.models.builder", *asked],
                env={**os.environ, **offline},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=BUILD_S,
                check=False,
            )
        if done.returncode or not (folder / MADE).is_file():
            said = [line for line in (done.stdout + done.stderr).strip().splitlines() if line.strip()]
            raise NotPossible(f"{model}: ONNX Runtime GenAI cannot be made of it: {said[-1] if said else 'no reason given'}", "try torch")

    def open_writer(self, folder: Path, *, threads: int = 0) -> Writer:
        """Ready to write; one thread where nothing else is asked for, which sleeps while it waits."""
        return GenaiWriter(folder, threads or 1)


@dataclass
class _Text:
    """One text in the making."""

    prompt: list[int]
    sampling: Sampling
    tell: Callable[[Wrote], bool]
    generator: Any = None
    made: list[int] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)


class GenaiWriter:
    """An opened model and the thread that it works in."""

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime_genai

        self._library = onnxruntime_genai
        try:
            config = onnxruntime_genai.Config(str(folder))
            options = {"intra_op_num_threads": threads, "session.intra_op.allow_spinning": "0"}
            config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
            self._model = onnxruntime_genai.Model(config)
            self.context = int(files.read_json(folder / MADE)["model"]["context_length"])
        except (RuntimeError, OSError, KeyError, ValueError) as error:
            raise Damaged(f"{folder}: ONNX Runtime GenAI cannot open it: {error}", "export the model again") from None
        self._waiting: deque[_Text] = deque()
        self._active: list[_Text] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="genai-writer", daemon=True)
        self._thread.start()

    def write(self, prompt: Sequence[int], sampling: Sampling, tell: Callable[[Wrote], bool]) -> None:
        """See ``Writer``. Raises ``InputError`` for a prompt that leaves no room in the context, ``NotPossible`` once closed."""
        if not prompt or len(prompt) >= self.context:
            raise InputError(f"the prompt holds {len(prompt)} tokens; the model reads 1 to {self.context - 1}", "shorten it")
        with self._changed:
            if self._closed:
                raise NotPossible("this model is closed", "ask again")
            self._waiting.append(_Text(list(prompt), sampling, tell))
            self._changed.notify()

    def close(self) -> None:
        """See ``Writer``."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._active or self._closed):
                    self._changed.wait()
                if self._closed:
                    break
                fresh, self._waiting = list(self._waiting), deque()
            self._active = [text for text in [*self._active, *fresh] if self._turn(text)]
        for text in [*self._active, *self._waiting]:
            _say(text, Wrote([], [], "cancelled"))
        self._active.clear()
        del self._model

    def _turn(self, text: _Text) -> bool:
        """One token more; whether there is more to come."""
        try:
            if text.generator is None:
                text.generator = self._begun(text)
            said = self._token(text)
        except Exception as error:  # noqa: BLE001 - one text must not end the others
            said = Wrote([], [], "error", f"{type(error).__name__}: {error}")
        more = _say(text, said) and not said.finish
        if not more:
            text.generator = None
        return more

    def _begun(self, text: _Text) -> Any:
        asked = text.sampling
        params = self._library.GeneratorParams(self._model)
        options: dict[str, Any] = {"max_length": min(self.context, len(text.prompt) + asked.max_tokens + 1)}
        if asked.temperature > 0:
            options |= {"do_sample": True, "temperature": asked.temperature, "top_p": asked.top_p, "random_seed": asked.seed}
            options |= {"top_k": asked.top_k} if asked.top_k else {"top_k": 0}
        else:
            options |= {"do_sample": False}
        params.set_search_options(**options)
        if asked.json_schema:
            params.set_guidance("json_schema", asked.json_schema)
        generator = self._library.Generator(self._model, params)
        generator.append_tokens(np.array(text.prompt, dtype=np.int32))
        return generator

    def _token(self, text: _Text) -> Wrote:
        asked, generator = text.sampling, text.generator
        if asked.frequency_penalty or asked.presence_penalty:
            self._punish(text)
        generator.generate_next_token()
        token = int(generator.get_next_tokens()[0])
        if token in asked.stop_ids:
            return Wrote([], [], "stop")
        text.made.append(token)
        text.counts[token] += 1
        full = len(text.made) >= asked.max_tokens or len(text.prompt) + len(text.made) >= self.context or generator.is_done()
        return Wrote([token], [], "length" if full else "")

    def _punish(self, text: _Text) -> None:
        """What was written already becomes less likely, as OpenAI defines it: logit - count * frequency - presence."""
        if not text.counts:
            return
        logits = np.array(text.generator.get_logits(), dtype=np.float32)
        for token, count in text.counts.items():
            logits[..., token] -= count * text.sampling.frequency_penalty + text.sampling.presence_penalty
        text.generator.set_logits(logits)


def _say(text: _Text, said: Wrote) -> bool:
    """Whether anybody listens still."""
    try:
        return bool(text.tell(said))
    except Exception:  # noqa: BLE001 - a listener's defect ends its own text only
        return False


plugin = OnnxruntimeGenai()
