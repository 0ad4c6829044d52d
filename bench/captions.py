"""Captions of real product photos: the starter captioner against the same net from scratch, the nearest picture and shuffled pictures.

    python bench/captions.py [--quick] [--effort quick] [--seed 17]
    python bench/captions.py --serving      # torch against ONNX: the same captions, latency, pictures a second with 8 clients

The shop's and the clothes' products that the starter never saw (`real_data.for_starter`), split by product. A shop photo's caption is its
colour and the last part of its category ("a blue jacket"), since the names of its products cannot be seen; a piece of clothing's is the one
that it comes with ("a t-shirt").
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from real_data import PRODUCTS, finish, for_starter, needed
from trying import use_environment

BASE = "starter-captioner"
ARTICLES = {
    "Bras & Tanks": "tank top", "Tanks": "tank top", "Hoodies & Sweatshirts": "hoodie", "Jackets": "jacket", "Pants": "pants",
    "Tees": "t-shirt", "Shorts": "shorts", "Fitness Equipment": "piece of fitness equipment", "Bags": "bag", "Watches": "watch",
}  # fmt: skip
CLIENTS, PICTURES = 8, 200


def rows(name: str) -> list[dict[str, Any]]:
    """``file_name``, ``caption``, ``article``, ``product`` (and ``colour``) of a set's photos that the starter never saw."""
    found = []
    for line in (needed(PRODUCTS / name) / "metadata.jsonl").open():
        row = json.loads(line)
        if for_starter(name, row):
            continue
        if name == "clothing":
            article, colour, product = row["label"].lower(), "", row["file_name"]
            caption = row["text"]
        else:
            parts = row["category"].split("/Collections")[0].split("/Promotions")[0].split("/")
            article, colour, product = ARTICLES.get(parts[-1], parts[-1].lower()), row["color"] or "", row["text"]
            caption = " ".join(word for word in ("a", colour, article) if word)
        said = {"caption": caption, "article": article, "colour": colour, "product": f"{name} {product}"}
        found.append({"file_name": row["file_name"], **said})
    return found


def folders(work: Path, most: int) -> list[str]:
    """The two sets as image folders; ``most`` photos of each (0: all)."""
    found = []
    for name in ("shop", "clothing"):
        place = work / name
        place.mkdir(parents=True)
        (place / "images.tar").symlink_to(PRODUCTS / name / "images.tar")
        some = rows(name)[: most or None]
        (place / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
        found.append(str(place))
    return found


def tuned(args: argparse.Namespace, work: Path) -> tuple[Any, Any, Any]:
    """The service, the plan and the evaluation of one fine-tune."""
    from luthier.app.service import Service
    from luthier.core.spec import make_spec

    service = Service(str(work / "home"))
    recipe = {
        "name": "product-photos",
        "task": "image-captioning",
        "model": args.model,
        "data": {"train": folders(work / "photos", 120 if args.quick else 0), "group": "product"},
        "train": {"effort": args.effort, "seed": args.seed, **({"epochs": 1} if args.quick else {})},
        "evaluate": {"baselines": ["nearest-picture", "from-scratch", "shuffled-pictures", "frequent-caption"], "written_rows": 400},
    }
    plan = service.plan(make_spec(recipe))
    return service, plan, service.evaluate(plan, service.train(plan, service.prepare(plan)))


def quality(args: argparse.Namespace, work: Path) -> None:
    """A row a contender, and the bars."""
    _, _, evaluation = tuned(args, work)
    found = json.loads((Path(evaluation.path) / "evaluation.json").read_text())
    table = [{"what": one["name"], **{name: round(value, 4) for name, value in one["scores"].items()}} for one in found["comparison"]]
    by = {row["what"]: row for row in table}
    ours = by["this model"]
    bars = {
        f"{score} {ours[score]:.3f} above {other} {by[other][score]:.3f}": args.quick or ours[score] > by[other][score]
        for score in ("cider_d", "article_accuracy")
        for other in ("from-scratch", "nearest-picture")
    }
    print(f"the contact sheet: {Path(evaluation.path) / 'report.html'}; {found['rows']}")
    for row in table:
        print(row)
    finish("captions", table, bars)


def serving(args: argparse.Namespace, work: Path) -> None:
    """The exported model against the torch model on the same pictures, one thread each."""
    import torch

    from luthier.core import registry
    from luthier.core.hooks import beside
    from luthier.core.types import Example
    from luthier.core.writing import most_new_tokens, stops_of
    from luthier.networks import generation
    from luthier.stages.serve.writing import open_export
    from luthier.store import datasets, files

    service, plan, evaluation = tuned(args, work)
    model = next(one for one in service.workspace.artifacts.lineage(evaluation.id) if one.kind == "model")
    dataset = next(one for one in service.workspace.artifacts.lineage(evaluation.id) if one.kind == "dataset")
    export = service.export(plan, evaluation)
    torch.set_num_threads(1)
    task, folder = registry.get("tasks", "image-captioning"), Path(model.path)
    schema = files.read_json(folder / "schema.json")
    processor, network = task.processor(folder, schema), task.load(folder, schema).eval()
    known = [row for split in ("test", "train") for row in datasets.read_split(Path(dataset.path), split)][:PICTURES]  # type: ignore[arg-type]
    asked = [Example(one.id, one.inputs) for one in known]
    said, took = [], []
    for item in task.encode(asked, processor, schema):
        start = time.perf_counter()
        prompt, given = [int(one) for one in item["input_ids"]], beside(task, item)
        ids = generation.write(network, [prompt], most_new_tokens(task, schema), stops_of(task, processor, schema), beside=[given])
        took.append(1e3 * (time.perf_counter() - start))
        said.append(processor.decode(ids[0]).strip())
    endpoint = open_export(Path(export.path), threads=1)
    theirs, times = [], []
    for one in asked:
        start = time.perf_counter()
        theirs.append(endpoint.predict_now([one])[0].prediction.output)
        times.append(1e3 * (time.perf_counter() - start))
    rate = _together(endpoint, asked)
    endpoint.close()
    same = float(np.mean([a == b for a, b in zip(said, theirs, strict=True)]))
    facts = json.loads((Path(export.path) / "export.json").read_text())
    table = [
        {"what": "torch", "p50_ms": _at(took, 50), "p95_ms": _at(took, 95)},
        {"what": f"onnx, {facts['bits']} bits", "p50_ms": _at(times, 50), "p95_ms": _at(times, 95), "pictures_per_s": round(rate, 1)},
    ]
    for row in table:
        print(row)
    exact = facts["candidates"]["onnx-captioner-32"]["same_texts"]
    bars = {f"with exact weights {exact:.1%} of the texts as torch writes them": exact == 1.0}
    print(f"deployed: {same:.1%} of {len(asked)} captions as torch writes them")
    finish("captions_serving", table, bars)


def _together(endpoint: Any, asked: list[Any]) -> float:
    """Pictures a second that 8 callers get, each asking when it was answered."""
    left = iter(asked * 2)
    lock, start = threading.Lock(), time.perf_counter()

    def work() -> None:
        while True:
            with lock:
                one = next(left, None)
            if one is None:
                return
            endpoint.predict_now([one])

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 2 * len(asked) / (time.perf_counter() - start)


def _at(values: list[float], share: int) -> float:
    return round(float(np.percentile(values, share)), 2)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--serving", action="store_true")
    parser.add_argument("--effort", default="quick")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--model", default=BASE)
    parser.add_argument("--work", type=Path, help="keep what is made there")
    args = parser.parse_args()
    use_environment()
    with tempfile.TemporaryDirectory() as folder:
        (serving if args.serving else quality)(args, args.work or Path(folder))


if __name__ == "__main__":
    main()
