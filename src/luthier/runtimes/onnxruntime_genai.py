"""ONNX Runtime GenAI: Llama-, Qwen-, Phi-, Mistral- and Gemma-shaped models in fp32, int8 or int4; fastest for one stream on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import Damaged, MissingExtra, NotPossible
from luthier.core.writing import Writer, Wrote
from luthier.runtimes._writing import Text, WriterThread, broken
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
class _Writing:
    """Of one text: the library's generator, and how often each token was written."""

    generator: Any
    counts: Counter[int] = field(default_factory=Counter)


class GenaiWriter(WriterThread):
    """An opened model; its texts take turns."""

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime_genai

        self._library = onnxruntime_genai
        try:
            config = onnxruntime_genai.Config(str(folder))
            options = {"intra_op_num_threads": threads, "session.intra_op.allow_spinning": "0"}
            config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
            self._model = onnxruntime_genai.Model(config)
            context = int(files.read_json(folder / MADE)["model"]["context_length"])
        except (RuntimeError, OSError, KeyError, ValueError) as error:
            raise Damaged(f"{folder}: ONNX Runtime GenAI cannot open it: {error}", "export the model again") from None
        super().__init__("genai-writer", context)

    def _step(self, texts: Sequence[Text]) -> Iterator[tuple[Text, Wrote]]:
        for text in texts:
            try:
                text.state = text.state or _Writing(self._begun(text))
                said = self._token(text)
            except Exception as error:  # noqa: BLE001 - one text must not end the others
                said = broken(error)
            yield text, said

    def _drop(self, text: Text) -> None:
        text.state = None

    def _free(self) -> None:
        del self._model

    def _begun(self, text: Text) -> Any:
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

    def _token(self, text: Text) -> Wrote:
        asked, generator = text.sampling, text.state.generator
        if asked.frequency_penalty or asked.presence_penalty:
            self._punish(text)
        generator.generate_next_token()
        token = int(generator.get_next_tokens()[0])
        if token in asked.stop_ids:
            return Wrote([], [], "stop")
        text.made += 1
        text.state.counts[token] += 1
        full = text.made >= self.room(text) or generator.is_done()
        return Wrote([token], [], "length" if full else "")

    def _punish(self, text: Text) -> None:
        """What was written already becomes less likely, as OpenAI defines it: logit - count * frequency - presence."""
        if not text.state.counts:
            return
        logits = np.array(text.state.generator.get_logits(), dtype=np.float32)
        for token, count in text.state.counts.items():
            logits[..., token] -= count * text.sampling.frequency_penalty + text.sampling.presence_penalty
        text.state.generator.set_logits(logits)


plugin = OnnxruntimeGenai()
