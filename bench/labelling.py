"""Labelling by usefulness: how many labels of BANKING77 a person makes before the model is as good as with 2,000 random ones.

    python bench/labelling.py [--quick] [--seeds 5] [--full 1] [--picture docs/labelling.svg]

The person is simulated by the true labels. Both sides learn alike: the linear model of ``luthier.labelling.suggest`` on MiniLM's vectors;
at the end also the method ``head`` and, with ``--full N`` seeds, a full fine-tune. The official test set answers each curve once. How rows
are chosen was decided on training rows alone (design/LOG.md).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.types import content_id
from real_data import banking77, finish
from trying import Setting, plan_of, use_environment

RANDOM, CHOSEN = 2000, 1000
POINTS = (100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1250, 1500, 1750, 2000)


def vectors_of(texts: list[str], cache: Path | None) -> Any:
    """[texts, 384] by the catalogued encoder, as ``luthier label`` makes them; kept in ``cache`` from run to run."""
    path = cache / f"{content_id(texts)}.npy" if cache else None
    if path and path.is_file():
        return np.load(path)
    made = embedded(texts)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, made)
    return made


def embedded(texts: list[str]) -> Any:
    """The vectors, made now."""
    from luthier.app.encoders import Encoders
    from luthier.catalog import cards
    from luthier.stages.serve.encoder import open_encoder, text_example

    with tempfile.TemporaryDirectory() as folder:
        encoders, card = Encoders(Path(folder)), cards.find("all-minilm-l6-v2")
        encoders.folder(card)
        encoders.wait()
        made = encoders.folder(card)
        assert made is not None
        endpoint = open_encoder(made)
        examples = [text_example(text) for text in texts]
        found = [one.prediction.output for at in range(0, len(texts), 256) for one in endpoint.predict_now(examples[at : at + 256])]
        endpoint.close()
    return np.stack(found)


class Pool:
    """Training rows as vectors and marks, and the test rows."""

    def __init__(self, rows: int, cache: Path | None) -> None:
        self.train, self.test = banking77("train", rows), banking77("test", rows // 3)
        self.labels = sorted({example.target for example in self.train})
        self.vectors = vectors_of([example.inputs["text"] for example in self.train], cache)
        self.asked = vectors_of([example.inputs["text"] for example in self.test], cache)
        index = {label: number for number, label in enumerate(self.labels)}
        self.marks = np.eye(len(self.labels), dtype=bool)[[index[example.target] for example in self.train]]
        self.right = np.array([index[example.target] for example in self.test])

    def accuracy(self, rows: Any) -> float:
        """Test accuracy of the linear model that learned from these rows."""
        from luthier.labelling.suggest import Linear

        return float((Linear(self.vectors[rows], self.marks[rows]).chances(self.asked).argmax(axis=1) == self.right).mean())

    def random(self, seed: int, most: int) -> Any:
        """Rows in an order by chance."""
        return np.random.default_rng(seed).permutation(len(self.train))[:most]

    def chosen(self, seed: int, most: int) -> Any:
        """Rows in the order in which ``luthier label`` would ask: by diversity until something is known, then unsure ones that differ."""
        from luthier.labelling import choose, suggest

        rows = choose.next_rows(self.vectors, None, self.vectors[:0], choose.first(len(self.labels)), seed)
        while len(rows) < most:
            rest = np.setdiff1d(np.arange(len(self.train)), rows)
            model = suggest.learned(self.vectors[rows], self.marks[rows])
            assert model is not None
            unsure = choose.margin(model.chances(self.vectors[rest]))
            more = choose.next_rows(self.vectors[rest], unsure, self.vectors[rows], choose.BATCH, seed + len(rows))
            rows = np.concatenate([rows, rest[more]])
        return rows[:most]


def tuned(pool: Pool, rows: Any, method: str, seed: int, work: Path) -> float:
    """Test accuracy of a method of ``luthier train`` on these rows."""
    setting = Setting([pool.train[row] for row in rows], pool.test)
    result, _ = setting.fit(plan_of(method, "standard", patience=0), seed, work)
    return float(setting.score(result.model, "accuracy"))


def curves(pool: Pool, seeds: int, most: int, chosen: int) -> dict[str, dict[int, list[float]]]:
    """For both ways, number of labels -> test accuracy of each seed."""
    found: dict[str, dict[int, list[float]]] = {"random": {}, "chosen": {}}
    for seed in range(seeds):
        for way, order in (("random", pool.random(seed, most)), ("chosen", pool.chosen(seed, chosen))):
            start = time.perf_counter()
            for count in (point for point in POINTS if point <= len(order)):
                found[way].setdefault(count, []).append(pool.accuracy(order[:count]))
            last = {count: round(100 * values[-1], 2) for count, values in found[way].items()}
            print({"way": way, "seed": seed, **last, "s": round(time.perf_counter() - start, 1)}, flush=True)
    return found


def picture(found: dict[str, dict[int, list[float]]], path: Path) -> None:
    """Accuracy against labels, mean and range over seeds."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "luthier"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, 4.2), layout="constrained")
    for (way, points), colour, name in zip(found.items(), ("#888888", "#1f6f8b"), ("at random", "by usefulness"), strict=True):
        counts = sorted(points)
        mean = [100 * statistics.fmean(points[count]) for count in counts]
        axes.plot(counts, mean, color=colour, marker="o", markersize=3, label=f"rows chosen {name}")
        axes.fill_between(counts, [100 * min(points[c]) for c in counts], [100 * max(points[c]) for c in counts], color=colour, alpha=0.2)
        if way == "random" and RANDOM in points:
            axes.axhline(100 * statistics.fmean(points[RANDOM]), color=colour, linewidth=0.8, linestyle="--")
    axes.set(xlabel="labels", ylabel="test accuracy, %", title="BANKING77: a linear model on MiniLM's vectors, mean and range over seeds")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--full", type=int, default=0, help="seeds of a full fine-tune at both ends")
    parser.add_argument("--head", type=int, default=2, help="seeds of the method head at both ends")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--cache", type=Path, help="folder where the vectors are kept")
    args = parser.parse_args()
    use_environment()
    pool = Pool(1500 if args.quick else 0, args.cache)
    most, chosen = (600, 300) if args.quick else (RANDOM, CHOSEN)
    found = curves(pool, 1 if args.quick else args.seeds, most, chosen)
    if args.picture:
        picture(found, args.picture)
    bars, rows = {}, []
    ends: list[tuple[str, list[float], list[float]]] = [("linear", found["random"][most], found["chosen"][chosen])]
    with tempfile.TemporaryDirectory() as work:
        for method, seeds in (("head", args.head), ("full", args.full)):
            pair: tuple[list[float], list[float]] = ([], [])
            for seed in range(0 if args.quick else seeds):
                for values, order in zip(pair, (pool.random(seed, most), pool.chosen(seed, chosen)), strict=True):
                    values.append(tuned(pool, order, method, seed, Path(work)))
                    print({"method": method, "seed": seed, "labels": len(order), "test": round(100 * values[-1], 2)}, flush=True)
            ends += [(method, *pair)] if pair[0] else []
    for method, by_chance, by_use in ends:
        one, other = 100 * statistics.fmean(by_chance), 100 * statistics.fmean(by_use)
        rows.append({"method": method, "seeds": len(by_use), f"{most} random": one, f"{chosen} chosen": other})
        bars[f"{method}: {chosen} chosen labels {other:.2f} >= {most} random ones {one:.2f}"] = other >= one
    finish("labelling", rows, bars, curves=found)


if __name__ == "__main__":
    main()
