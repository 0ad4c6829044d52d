"""OpenVINO GenAI with continuous batching: fastest for many streams on a CPU; takes every decoder that transformers exports, GPT-2 too."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import Damaged, InputError, MissingExtra, NotPossible
from luthier.core.writing import Sampling, Writer, Wrote
from luthier.runtimes.openvino_int8 import no_telemetry
from luthier.store import files

GRAPH, TOKENIZER = "openvino_model.xml", "openvino_tokenizer.xml"
SETTINGS = "openvino_genai.json"
MODES = {8: "INT8_ASYM", 4: "INT4_ASYM"}
GROUP_SIZE = 32
"""Weights of int4 that share a scale; the largest divisor of a width that is no larger."""
MOST_AT_ONCE = 64
DEFAULT_CONTEXT = 2048
"""Tokens, where the configuration names no limit."""
SAMPLE_BEFORE, SAMPLE_NEW = 10, 3
"""Tokens in the cache, and new ones, of the sample that the exporter follows through the model."""


class OpenvinoGenai:
    """See the module. Who comes later joins at the next token; what a conversation shares with an earlier request is not read again."""

    name = "openvino-genai"
    summary = "OpenVINO GenAI, continuous batching, fp32, int8 or int4 weights (extra: openvino)"
    writes = True
    precisions = (32, *MODES)

    def missing(self) -> str:
        """Why it cannot be used ("" when it can)."""
        absent = next((one for one in ("openvino_genai", "openvino_tokenizers", "nncf") if not find_spec(one)), "")
        return str(MissingExtra(absent, "openvino")) if absent else ""

    def fits(self, config: Mapping[str, Any]) -> str:
        """Every decoder of transformers is tried; what is none, or reads with a second network, is not."""
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

        kind = str(config.get("model_type", ""))
        if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return f"transformers knows no decoder of type {kind or 'without a name'}"
        return f"a {kind} model has an encoder: it is no decoder" if config.get("is_encoder_decoder") else ""

    def convert_model(self, model: Path, folder: Path, bits: int) -> None:
        """By transformers' own exporter, the cache of keys and values inside; weights are compressed by NNCF without data.

        Raises ``NotPossible`` for an architecture that cannot be exported.
        """
        no_telemetry()
        import openvino

        try:
            graph, context = _graph_of(model, max(path.stat().st_mtime_ns for path in model.iterdir()))
        except Exception as error:
            said = str(error).strip().splitlines() or ["no reason given"]
            reason = f"{type(error).__name__}: {said[0]}"
            raise NotPossible(f"{model}: transformers cannot export it to OpenVINO: {reason}", "use onnxruntime-genai") from error
        if bits in MODES:
            graph = _compressed(graph.clone(), bits)
        openvino.save_model(graph, str(folder / GRAPH), compress_to_fp16=False)
        _save_tokenizer(model, folder)
        files.write_json(folder / SETTINGS, {"context_length": context, "bits": bits})

    def open_writer(self, folder: Path, *, threads: int = 0) -> Writer:
        """Ready to write; one thread where nothing else is asked for."""
        return OpenvinoWriter(folder, threads or 1)


@lru_cache(maxsize=1)
def _graph_of(model: Path, changed_ns: int) -> tuple[Any, int]:
    """The decoder as an ``openvino.Model`` and its context in tokens; followed once for all precisions.

    The graph: ``input_ids`` and ``position_ids`` [B,S] with ``beam_idx`` [B] to ``logits``, the state within. It has no attention mask: the
    batches that the pipeline forms hold no padding, and it replaces the attention by its own, which is paged (Kwon et al. 2023).
    """
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache
    from transformers.exporters.exporter_openvino import OpenVINOConfig, OpenVINOExporter

    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="sdpa").eval()
    cache = DynamicCache(config=network.config)
    ids = torch.arange(SAMPLE_BEFORE)[None].repeat(2, 1)
    with torch.no_grad():
        network(input_ids=ids, past_key_values=cache, use_cache=True)
    sample = {
        "input_ids": ids[:, :SAMPLE_NEW],
        "position_ids": torch.arange(SAMPLE_BEFORE, SAMPLE_BEFORE + SAMPLE_NEW)[None].repeat(2, 1),
        "past_key_values": cache,
        "use_cache": True,
    }
    exported = OpenVINOExporter().export(network, sample, config=OpenVINOConfig(dynamic=True))
    return exported.program, int(getattr(network.config, "max_position_embeddings", 0) or DEFAULT_CONTEXT)


def _save_tokenizer(model: Path, folder: Path) -> None:
    """The tokenizer in OpenVINO's form, which answers by a JSON schema need; without one, or with an odd kind, texts are free only."""
    import openvino
    from openvino_tokenizers import convert_tokenizer
    from transformers import PreTrainedTokenizerFast

    if not (model / "tokenizer.json").is_file():
        return
    try:
        both = convert_tokenizer(PreTrainedTokenizerFast(tokenizer_file=str(model / "tokenizer.json")), with_detokenizer=True)
    except Exception:  # noqa: BLE001 - it says "not implemented" in many ways
        return
    for graph, name in zip(both, (TOKENIZER, "openvino_detokenizer.xml"), strict=True):
        openvino.save_model(graph, str(folder / name))


def _compressed(graph: Any, bits: int) -> Any:
    """The weights of matrices in 8 or 4 bits; embeddings and the output layer stay in 8."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    options = {} if bits == 8 else {"group_size": GROUP_SIZE, "ratio": 1.0}
    return nncf.compress_weights(graph, mode=getattr(nncf.CompressWeightsMode, MODES[bits]), **options)


@dataclass
class _Text:
    """One text in the making; ``handle`` is the library's."""

    prompt: list[int]
    sampling: Sampling
    tell: Callable[[Wrote], bool]
    handle: Any = None
    made: int = 0
    ended: bool = False


class OpenvinoWriter:
    """An opened pipeline and the thread that steps it: a step is one token more of every text that is being written."""

    def __init__(self, folder: Path, threads: int) -> None:
        if not (folder / GRAPH).is_file():
            raise Damaged(f"{folder / GRAPH}: the graph is missing", "export the model again")
        no_telemetry()
        import openvino_genai

        self._library = openvino_genai
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.max_num_seqs = MOST_AT_ONCE
        scheduler.enable_prefix_caching = True
        exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
        options = exact | {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        self._guides = (folder / TOKENIZER).is_file()
        try:
            self.context = int(files.read_json(folder / SETTINGS)["context_length"])
            self._pipeline = openvino_genai.ContinuousBatchingPipeline(str(folder), scheduler, "CPU", options)
        except (RuntimeError, OSError, KeyError, ValueError) as error:
            raise Damaged(f"{folder}: OpenVINO GenAI cannot open it: {error}", "export the model again") from None
        self._waiting: deque[_Text] = deque()
        self._active: list[_Text] = []
        self._changed = threading.Condition()
        self._closed = False
        self._asked = 0
        self._thread = threading.Thread(target=self._work, name="openvino-writer", daemon=True)
        self._thread.start()

    def write(self, prompt: Sequence[int], sampling: Sampling, tell: Callable[[Wrote], bool]) -> None:
        """See ``Writer``. Raises ``InputError`` for a prompt that leaves no room and for penalties, ``NotPossible`` once closed."""
        if not prompt or len(prompt) >= self.context:
            raise InputError(f"the prompt holds {len(prompt)} tokens; the model reads 1 to {self.context - 1}", "shorten it")
        if sampling.frequency_penalty or sampling.presence_penalty:
            reason = "frequency_penalty and presence_penalty: this runtime adds them to logits below 0 where OpenAI takes them away"
            raise InputError(reason, "leave them out, or export with onnxruntime-genai alone")
        if sampling.json_schema and not self._guides:
            raise InputError("this model was exported without a tokenizer and cannot hold to a JSON schema", "export it again")
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
            self._active += [text for text in fresh if self._begun(text)]
            self._step()
        for text in [*self._active, *self._waiting]:
            self._end(text, Wrote([], [], "cancelled"))
        self._active.clear()
        del self._pipeline

    def _begun(self, text: _Text) -> bool:
        """Whether the pipeline took it."""
        import openvino

        self._asked += 1
        ids = openvino.Tensor(np.array([text.prompt], dtype=np.int64))
        try:
            text.handle = self._pipeline.add_request(self._asked, ids, self._settings(text))
        except (RuntimeError, ValueError) as error:
            self._end(text, Wrote([], [], "error", f"{type(error).__name__}: {error}"))
            return False
        return True

    def _settings(self, text: _Text) -> Any:
        asked, found = text.sampling, self._library.GenerationConfig()
        found.max_new_tokens = max(1, min(asked.max_tokens, self.context - len(text.prompt)))
        found.ignore_eos = not asked.stop_ids
        found.set_eos_token_id(asked.stop_ids[0] if asked.stop_ids else 0)  # it wants one, though it be ignored
        found.stop_token_ids = set(asked.stop_ids) | {found.eos_token_id}
        if asked.json_schema:
            found.structured_output_config = self._library.StructuredOutputConfig(json_schema=asked.json_schema)
        if asked.temperature > 0:
            found.do_sample, found.temperature, found.top_p, found.rng_seed = True, asked.temperature, asked.top_p, asked.seed
            found.top_k = asked.top_k or found.top_k
        else:
            found.do_sample = False
        return found

    def _step(self) -> None:
        if not self._active:
            return
        try:
            self._pipeline.step()
        except RuntimeError as error:  # the pipeline's own state is lost with it: every text of this step ends
            for text in self._active:
                self._end(text, Wrote([], [], "error", f"{type(error).__name__}: {error}"))
            self._active = []
            return
        for text in self._active:
            for said in self._read(text):
                self._say(text, said)
        self._active = [text for text in self._active if not text.ended]

    def _read(self, text: _Text) -> Iterator[Wrote]:
        """What is new of a text; the token that ended it is not part of it."""
        while text.handle.can_read():
            for one in text.handle.read().values():
                ids = [int(token) for token in one.generated_ids]
                stopped = bool(ids) and ids[-1] in text.sampling.stop_ids
                ids = ids[:-1] if stopped else ids
                text.made += len(ids)
                full = text.made >= min(text.sampling.max_tokens, self.context - len(text.prompt))
                yield Wrote(ids, [], "stop" if stopped else "length" if full else "")
        status = text.handle.get_status()
        if text.ended or status == self._library.GenerationStatus.RUNNING:
            return
        if status == self._library.GenerationStatus.IGNORED:
            yield Wrote([], [], "error", "the cache has no room for this text: fewer at once, or shorter ones")
        else:  # the grammar of a JSON schema came to its end
            yield Wrote([], [], "stop")

    def _say(self, text: _Text, said: Wrote) -> None:
        if text.ended:
            return
        heard = False
        with contextlib.suppress(Exception):  # a listener's defect ends its own text only
            heard = bool(text.tell(said))
        text.ended = bool(said.finish) or not heard
        if not heard and not said.finish:
            text.handle.cancel()

    def _end(self, text: _Text, said: Wrote) -> None:
        text.ended = True
        with contextlib.suppress(Exception):
            text.tell(said)
        if text.handle is not None:
            text.handle.cancel()


plugin = OpenvinoGenai()
