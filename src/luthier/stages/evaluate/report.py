"""The report: one HTML file that opens from the disk, needs no network, and follows the reader's light or dark setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from luthier.stages.evaluate import compare, figures

MOST_CLASSES_IN_MAP = 30
HEADLINES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "rare_f1": "rare classes' F1",
    "pr_auc": "PR-AUC",
    "roc_auc": "ROC-AUC",
    "ece": "calibration error",
    "cost": "mean cost",
}


PLAIN = ("cider_d", "perplexity", "bits_per_byte", "words", "length_ratio", "cost", "mean cost")
"""Scores that are no shares, and are shown as they are."""


def render(evaluation: dict[str, Any], thumbnails: Mapping[str, str] = MappingProxyType({})) -> str:
    """The page of an ``evaluation.json``; every text from data is escaped. ``thumbnails``: pictures of rows as data URLs, by their ids."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {one.__name__: one for one in (percent, score, ahead, seconds, flop, label, p_value)}
    template = environment.from_string((Path(__file__).parent / "report.html").read_text(encoding="utf-8"))
    return template.render(
        e=evaluation,
        headlines=list(_headlines(evaluation)),
        bought=bought(evaluation),
        pictures=_pictures(evaluation),
        thumbnails=thumbnails,
        best_baseline=_best(evaluation),
        settings=list(_settings(evaluation["plan"])),
        top=max((row["scores"][evaluation["primary_metric"]] for row in evaluation["comparison"]), default=1.0) or 1.0,
    )


def percent(value: float) -> str:
    """0.1234 as 12.3 %."""
    return f"{100 * value:.1f} %"


def score(value: float, name: str) -> str:
    """A share in percent, another score with three decimals."""
    return f"{value:.3f}" if name in PLAIN else percent(value)


def ahead(value: float, name: str) -> str:
    """A difference of two scores: 0.0512 as +5.1 points of a share."""
    return f"{value:+.3f}" if name in PLAIN else f"{100 * value:+.1f}"


def of_score(value: float, name: str) -> str:
    """``ahead`` with what it is counted in."""
    said = HEADLINES.get(name, name)
    return f"{ahead(value, name)} of {said}" if name in PLAIN else f"{ahead(value, name)} points of {said}"


def seconds(value: float) -> str:
    """Time for people."""
    if value < 0.001:
        return "0 s"
    if value < 1:
        return f"{1000 * value:.0f} ms"
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"


def flop(value: float) -> str:
    """Work for people: 3.2e13 as 32 TFLOP."""
    for unit, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}FLOP"
    return "-" if value <= 0 else f"{value:.0f} FLOP"


def p_value(value: float) -> str:
    """Small ones as a bound."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def label(value: Any) -> str:
    """One label, or several."""
    return ", ".join(map(str, value)) or "(none)" if isinstance(value, list) else str(value)


def _headlines(evaluation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    scores = evaluation["scores"]
    order = dict.fromkeys([evaluation["primary_metric"], *HEADLINES])
    for name in order:
        if name not in scores or (name == "cost" and not evaluation["costs"]):
            continue
        one = scores[name]
        picture = figures.range_bar(one["value"], one["low"], one["high"]) if "low" in one and one["value"] <= 1 else ""
        yield {"name": HEADLINES.get(name, name), "picture": picture, **one}


def _best(evaluation: dict[str, Any]) -> str:
    primary = evaluation["primary_metric"]
    others = [row for row in evaluation["comparison"] if "gained" in row]
    return str(max(others, key=lambda row: row["scores"][primary])["name"]) if others else ""


def bought(evaluation: dict[str, Any]) -> str:
    """The one sentence: what fine-tuning bought, against what, for how much time."""
    primary, rows = evaluation["primary_metric"], {row["name"]: row for row in evaluation["comparison"]}
    ours = rows.get("this model")
    best = _best(evaluation)
    if not ours or not best:
        return ""
    gained = rows[best]["gained"][primary]
    sure = "" if compare.real(rows[best]["test"]) else ", a difference that these test rows cannot tell from chance"
    spent, other = seconds(ours["train_s"]), seconds(rows[best]["train_s"])
    if gained <= 0:
        return (
            f"Fine-tuning bought nothing here: {best} is {of_score(-gained, primary).lstrip('+')} ahead{sure}, "
            f"for {other} instead of {spent}."
        )
    text = f"Fine-tuning bought {of_score(gained, primary)} over the best alternative ({best}) for {spent} of training{sure}"
    if "nearest-centroid" in rows and best != "nearest-centroid":
        text += f"; {ahead(rows['nearest-centroid']['gained'][primary], primary)} over the untouched base model"
    return text + "."


def _pictures(evaluation: dict[str, Any]) -> dict[str, str]:
    data, calibration = evaluation["figures"], evaluation["calibration"]
    made: dict[str, str] = {}
    if data.get("reliability"):
        made["reliability"] = figures.reliability(calibration.get("reliability_before", []), data["reliability"])
    if evaluation["thresholds"]["coverage"]:
        made["coverage"] = figures.coverage(evaluation["thresholds"]["coverage"], calibration.get("abstain", {}).get("risk", 0.0))
    if data.get("roc_curve"):
        made["roc"] = figures.curve(data["roc_curve"], "false-positive rate", "true-positive rate", diagonal=True)
    if data.get("pr_curve"):
        made["pr"] = figures.curve(data["pr_curve"], "recall", "precision", diagonal=False)
    binary = evaluation["thresholds"]["binary"]
    if binary:
        made["binary"] = figures.threshold(binary["points"], binary["least_expected_cost_at"])
    if data.get("confusion") and len(data["confusion"]["labels"]) <= MOST_CLASSES_IN_MAP:
        made["confusion"] = figures.heat_map(data["confusion"]["labels"], data["confusion"]["matrix"])
    folds = evaluation["cross_validation"]
    if folds:
        one = folds["scores"][evaluation["primary_metric"]]
        made["folds"] = figures.dots(one["values"], one["mean"])
    return made


def _settings(plan: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Every value of the plan with its origin, by dotted path."""
    for section, values in plan.items():
        if section in ("origins", "notes", "estimates", "base"):
            continue
        for name, value in values.items() if isinstance(values, dict) else [("", values)]:
            path = f"{section}.{name}" if name else section
            yield {"path": path, "value": str(value), "origin": str(plan.get("origins", {}).get(path, ""))}
