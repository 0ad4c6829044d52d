"""OpenVINO GenAI with continuous batching: fastest for many streams on a CPU; takes every decoder that transformers exports, GPT-2 too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import Damaged, InputError, MissingExtra, NotPossible
from luthier.core.types import Arrays
from luthier.core.writing import Sampling, Writer, Wrote
from luthier.runtimes._openvino import no_telemetry
from luthier.runtimes._writing import Text, WriterThread, broken
from luthier.store import files

GRAPH, TOKENIZER = "openvino_model.xml", "openvino_tokenizer.xml"
SETTINGS = "openvino_genai.json"
MODES = {8: "INT8_ASYM", 4: "INT4_ASYM"}
GROUP_SIZE = 32
"""Weights of int4 that share a scale."""
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
        if config.get("is_encoder_decoder"):
            return f"a {kind} model has an encoder: it is no decoder"
        return "" if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else f"transformers knows no decoder of type {kind or 'without a name'}"

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


class OpenvinoWriter(WriterThread):
    """An opened pipeline: a step is one token more of every text that is being written. A text's ``state`` is the library's handle."""

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
        self._asked = 0
        try:
            context = int(files.read_json(folder / SETTINGS)["context_length"])
            self._pipeline = openvino_genai.ContinuousBatchingPipeline(str(folder), scheduler, "CPU", options)
        except (RuntimeError, OSError, KeyError, ValueError) as error:
            raise Damaged(f"{folder}: OpenVINO GenAI cannot open it: {error}", "export the model again") from None
        super().__init__("openvino-writer", context)

    def write(self, prompt: Sequence[int], sampling: Sampling, tell: Callable[[Wrote], bool], beside: Arrays | None = None) -> None:
        """See ``WriterThread``. Raises ``InputError`` for penalties too, and for a JSON schema where there is no tokenizer."""
        if sampling.frequency_penalty or sampling.presence_penalty:
            reason = "frequency_penalty and presence_penalty: this runtime adds them to logits below 0 where OpenAI takes them away"
            raise InputError(reason, "leave them out, or export with onnxruntime-genai alone")
        if sampling.json_schema and not self._guides:
            raise InputError("this model was exported without a tokenizer and cannot hold to a JSON schema", "export it again")
        super().write(prompt, sampling, tell, beside)

    def _step(self, texts: Sequence[Text]) -> Iterator[tuple[Text, Wrote]]:
        for text in texts:
            if text.state is None:
                try:
                    text.state = self._begun(text)
                except Exception as error:  # noqa: BLE001 - one text must not end the others
                    yield text, broken(error)
        going = [text for text in texts if not text.ended]
        if not going:
            return
        try:
            self._pipeline.step()
        except RuntimeError as error:  # the pipeline's own state is lost with it: every text of this step ends
            for text in going:
                yield text, broken(error)
            return
        for text in going:
            for said in self._read(text):
                yield text, said

    def _begun(self, text: Text) -> Any:
        import openvino

        self._asked += 1
        ids = openvino.Tensor(np.array([text.prompt], dtype=np.int64))
        return self._pipeline.add_request(self._asked, ids, self._settings(text))

    def _settings(self, text: Text) -> Any:
        asked, found = text.sampling, self._library.GenerationConfig()
        found.max_new_tokens = max(1, self.room(text))
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

    def _read(self, text: Text) -> Iterator[Wrote]:
        """What is new of a text; the token that ended it is not part of it."""
        while text.state.can_read():
            for one in text.state.read().values():
                ids = [int(token) for token in one.generated_ids]
                stopped = bool(ids) and ids[-1] in text.sampling.stop_ids
                ids = ids[:-1] if stopped else ids
                text.made += len(ids)
                full = text.made >= self.room(text)
                yield Wrote(ids, [], "stop" if stopped else "length" if full else "")
        status = text.state.get_status()
        if text.ended or status == self._library.GenerationStatus.RUNNING:
            return
        if status == self._library.GenerationStatus.IGNORED:
            yield Wrote([], [], "error", "the cache has no room for this text: fewer at once, or shorter ones")
        else:  # the grammar of a JSON schema came to its end
            yield Wrote([], [], "stop")

    def _drop(self, text: Text) -> None:
        if text.state is not None and text.state.get_status() == self._library.GenerationStatus.RUNNING:
            text.state.cancel()

    def _free(self) -> None:
        del self._pipeline


plugin = OpenvinoGenai()
