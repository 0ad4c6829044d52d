"""The base model that a training starts from once it has read a domain's texts; made once, shared by trainings that ask for the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luthier.core.events import Event, NoteSaid, StageProgressed
from luthier.core.job import Job
from luthier.core.plan import TrainPlan
from luthier.core.ports import Emit, Task
from luthier.core.types import Example, content_id
from luthier.stages import stopping
from luthier.store import datasets, files

MOST_TOKENS = 256
"""Longer texts are cut here: what a domain's words mean is seen within some sentences."""
BATCH_TOKENS = 1024
DROPOUT = 0.1
HEAD_RATE = 5.0
"""The new layers before the word vectors learn so many times faster than the encoder."""
VERSION = 1
_LEFT = ("model.safetensors", "network.json", "config.json", "tokenizer.json", "training.json", "curves.json", "curves.svg", "plan.json")
FACTS = "adapted.json"


def asks(plan: TrainPlan) -> bool:
    """Whether the plan wants the base model adapted first."""
    return bool(plan.unlabelled or plan.added_tokens)


def adapted(job: Job, task: Task, emit: Emit, known: str = "") -> Path:
    """The folder of the base model: as it is, or adapted as ``job.plan.train`` asks. A killed adaptation goes on from its checkpoint.

    ``known``: the name of the folder, where an earlier stage says it: then the texts are read again only if it is gone.
    """
    base, plan = Path(job.inputs["base"]), job.plan.train
    if not asks(plan):
        return base
    if known and (Path(job.cache or job.work) / known / FACTS).exists():
        return Path(job.cache or job.work) / known
    from luthier.stages.train.adapt.texts import texts_of

    splits: dict[str, Sequence[Example]] = {name: _split(job, name) for name in ("train", "validation", "test")}
    texts = texts_of(job.plan, task, splits["train"], [*splits["validation"], *splits["test"]])
    place = Path(job.cache or job.work) / f"adapted-{_key(base, plan, texts)}"
    if not (place / FACTS).exists():
        with stopping.graceful():
            make(base, plan, texts, place, Path(job.work) / "adapt", emit)
    facts = files.read_json(place / FACTS)
    words = f", {facts['added_tokens']} words became tokens" if facts["added_tokens"] else ""
    emit(NoteSaid(text=f"{base.name} has read {facts['texts']:,} texts ({facts['tokens']:,} tokens{words})", data=facts))
    return place


def figures(base: Path) -> dict[str, Any]:
    """What ``training.json`` says of an adapted base model; ``{}`` of any other."""
    if not (base / FACTS).exists():
        return {}
    facts = files.read_json(base / FACTS)
    return {"adapted": {"base": base.name} | {name: facts[name] for name in ("texts", "tokens", "added_tokens", "seconds")}}


def _split(job: Job, name: Any) -> Sequence[Example]:
    return datasets.read_split(Path(job.inputs["dataset"]), name)


def _key(base: Path, plan: TrainPlan, texts: Sequence[str]) -> str:
    """Equal where the same would come of it."""
    about = [plan.adapt_epochs, plan.adapt_learning_rate, plan.added_tokens, plan.seed, plan.max_grad_norm]
    model = [files.sha256(base / name) for name in ("model.safetensors", "tokenizer.json", "config.json")]
    return content_id([VERSION, about, plan.threads, plan.precision, plan.device, model, list(texts)])


def make(base: Path, plan: TrainPlan, texts: Sequence[str], place: Path, work: Path, emit: Emit) -> None:
    """Adapts ``base`` to the texts; the folder ``place`` appears whole, and ``work`` holds the checkpoints until then."""
    from luthier.stages.train.adapt.added_tokens import vocabulary
    from luthier.stages.train.adapt.masked_text import MaskedText
    from luthier.stages.train.fit import fit
    from luthier.stages.train.stage import model_limit

    task: Any = MaskedText(vocabulary(base, texts, plan.added_tokens))
    items = task.items(texts, min(MOST_TOKENS, model_limit(base)))
    result = fit(_request(base, plan, task, items, work), _as_adaptation(emit))
    facts = {
        "texts": len(items),
        "tokens": int(sum(task.length(item) for item in items)),
        "added_tokens": len(task.vocabulary.words),
        "words": task.vocabulary.words,
        "seconds": round(result.seconds, 3),
        "loss": [point["loss"] for point in result.curves["steps"]],
    }
    shutil.rmtree(place, ignore_errors=True)
    with files.folder_aside(place) as aside:
        _copy_rest(base, aside)
        result.model.save_encoder(aside)
        files.write_text(aside / "tokenizer.json", task.vocabulary.tokenizer.to_str())
        files.write_json(aside / FACTS, facts)
    shutil.rmtree(work, ignore_errors=True)


def _request(base: Path, plan: TrainPlan, task: Any, items: Sequence[Any], work: Path) -> Any:
    """Every weight learns, at the plan's rate for it; threads and precision follow from the plan, never from measured time."""
    import torch

    from luthier.stages.train.request import FitRequest
    from luthier.stages.train.threads import cores

    device = plan.device if plan.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(plan.threads or cores())
    own = TrainPlan(
        method="full",
        epochs=plan.adapt_epochs,
        learning_rate=plan.adapt_learning_rate,
        head_learning_rate=HEAD_RATE * plan.adapt_learning_rate,
        batch_tokens=BATCH_TOKENS,
        dropout=DROPOUT,
        max_grad_norm=plan.max_grad_norm,
        checkpoint_s=plan.checkpoint_s,
        patience=0,
    )
    precision = "bf16" if plan.precision == "bf16" else "fp32"
    return FitRequest(task, base, {}, own, items, seed=plan.seed, checkpoints=work / "checkpoints", precision=precision, device=device)


def _as_adaptation(emit: Emit) -> Emit:
    """Its progress is not that of the training that follows."""

    def tell(event: Event) -> None:
        emit(event.model_copy(update={"phase": "adapt"}) if isinstance(event, StageProgressed) else event)

    return tell


def _copy_rest(base: Path, folder: Path) -> None:
    """What else a base model's folder says of it; a trained model's own pooling is written as a base model's would be."""
    for path in sorted(base.iterdir()):
        if path.suffix == ".json" and path.name not in _LEFT:
            shutil.copyfile(path, folder / path.name)
    pooling = base / "1_Pooling" / "config.json"
    own = base / "network.json"
    if own.exists():
        cls = files.read_json(own).get("pooling") == "cls"
        files.write_text(folder / "1_Pooling" / "config.json", json.dumps({"pooling_mode_cls_token": cls}))
    elif pooling.exists():
        files.write_text(folder / "1_Pooling" / "config.json", pooling.read_text(encoding="utf-8"))
