"""Which task a training file asks for: the rules, written down, in the order in which they are asked; each answer says why."""

from __future__ import annotations

from typing import Any, NamedTuple

from luthier.catalog.card import ModelCard
from luthier.core import preference_rules, registry
from luthier.core.errors import SpecError

RULES = (
    "a table (CSV, TSV, Parquet, JSONL with columns) trains a classifier: its text and label columns are found by name, or mapped",
    "chats or prompt/completion pairs whose last replies are a small closed set of labels train a classifier on an encoder (BERT)",
    "chats or prompt/completion pairs with free replies train a text generator on a decoder (GPT)",
    "preference pairs, with method dpo, train a text generator on a decoder (GPT)",
    "reinforcement rows need a decoder and a grader",
)
"""What ``decide`` does, for people; shown in the plan and in docs/fine-tuning.md."""

CLASSIFIER = "text-classification"
GENERATOR = "chat"
PREFERENCE = "preference"


_HELD = {"chat": "chats", "completion": "prompts with completions", "table": "a table"}


class Decision(NamedTuple):
    """The task, why, and what the recipe's ``data`` section must say for this kind of file."""

    task: str
    why: str
    data: dict[str, Any]


def decide(facts: dict[str, Any], card: ModelCard, *, method: str = "supervised", wanted: str = "") -> Decision:
    """The task for a file (``facts`` as its check found them) on a base model; raises ``SpecError`` that says what would fit."""
    kind, closed = str(facts.get("kind", "table")), facts.get("reply") == "labels"
    if method != "supervised" or kind in ("preference", "reinforcement"):
        _refuse_method(kind, method)
    if kind == "preference":
        if wanted not in ("", PREFERENCE):
            reason = f"{wanted!r} does not learn from preference pairs"
            raise SpecError("task", reason, f"leave it out: method dpo trains the task {PREFERENCE}")
        return Decision(_fits(PREFERENCE, card, "the file holds preference pairs"), RULES[3], {"format": "openai-preference"})
    if wanted:
        if wanted == CLASSIFIER and facts.get("unasked_rows"):
            reason = f"{facts['unasked_rows']} rows have no text of the user before the reply that is the label"
            raise SpecError("training_file", reason, "add a message with role 'user' to each: it is what a classifier reads")
        return Decision(_registered(wanted), "the request names it", _data(kind, wanted))
    if kind == "table":
        return Decision(_fits(CLASSIFIER, card, "the file is a table"), RULES[0], {})
    if closed and card.architecture == "encoder":
        labels = len(facts.get("labels", ()))
        return Decision(
            CLASSIFIER,
            f"the replies are {labels} labels in {facts.get('rows', 0)} rows, and the base is an encoder",
            _data(kind, CLASSIFIER),
        )
    return Decision(_fits(GENERATOR, card, _free(facts)), RULES[2], _data(kind, GENERATOR))


def _data(kind: str, task: str) -> dict[str, Any]:
    """How the file is read: as messages by a task with such a column, else question and reply as the task's first two columns."""
    columns = [one.name for one in registry.get("tasks", task).columns]
    if "messages" in columns:
        return {"chat": {"format": "jsonl"}, "completion": {"format": "openai-completion"}}.get(kind, {})
    read, said = columns[0], columns[1] if len(columns) > 1 else ""
    if kind == "completion":
        return {"format": "jsonl", "map": {read: "prompt"} | ({said: "completion"} if said else {})}
    renamed = {said: "label"} if said not in ("", "label") else {}
    return {"format": "openai-chat"} | ({"map": renamed} if renamed else {}) if kind == "chat" else {}


def _free(facts: dict[str, Any]) -> str:
    return "the replies are labels" if facts.get("reply") == "labels" else "the replies are free text, not a small closed set of labels"


def _registered(task: str) -> str:
    if task not in registry.names("tasks"):
        raise SpecError("task", f"there is no task {task!r}", "known: " + ", ".join(registry.names("tasks")))
    return task


def _fits(task: str, card: ModelCard, why: str) -> str:
    """The task, where it is there and the base fits it."""
    if task not in registry.names("tasks"):
        hint = "give replies that are labels and an encoder base (all-minilm-l6-v2), or a table with text and label"
        raise SpecError("training_file", f"{why}: that trains the task {task!r}, which this version does not have", hint)
    fitting = registry.get("tasks", task).architectures
    if card.architecture not in fitting:
        reason = f"{card.id!r} is a {card.architecture} model, and {why}: {task} needs {' or '.join(fitting)}"
        raise SpecError("model", reason, "luthier models shows which fit")
    return task


def _refuse_method(kind: str, method: str) -> None:
    if "reinforcement" in (kind, method):
        hint = "use method.type supervised with chats or prompt/completion pairs, or dpo with preference pairs"
        raise SpecError("method.type", "reinforcement is not in this version", hint)
    if method == "dpo" and kind != "preference":
        hint = f"{preference_rules.FORM}, or send method.type supervised"
        raise SpecError("method.type", f"dpo learns from preference pairs, and the file holds {_HELD.get(kind, kind)}", hint)
    if kind == "preference" and method != "dpo":
        raise SpecError("method.type", "the file holds preference pairs, which method dpo learns from", "send method.type dpo")
