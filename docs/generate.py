"""Writes the pages that follow from the code: docs/recipes.md (every field), docs/models.md (the catalog), docs/plugins.md (every plugin),
docs/python.md (the public names).

``python docs/generate.py`` writes them, ``python docs/generate.py --check`` says which are stale and exits with 1.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any, get_args

from pydantic_core import PydanticUndefined

import luthier
from luthier.catalog import cards, made
from luthier.core import registry
from luthier.core.plan import Plan
from luthier.core.spec import SECTIONS

FOLDER = Path(__file__).parent
_NOTE = "<!-- Written by `make docs` from {source}. Change it there. -->\n"


_RECIPES = """\
A recipe is a YAML file that says what differs from the defaults. Nothing else needs to be written; `luthier plan RECIPE` shows
the plan that follows, every value with its origin, and runs nothing. Any field can be set from outside by its dotted path:
`luthier run RECIPE --set train.epochs=2`. The same fields are the REST body and the keywords of the Python API.

Some defaults depend on the method and on `train.effort` (`quick`, `standard`, `best`): the method decides them, and the plan
says so.
"""


def recipes() -> str:
    """Every field that a recipe can hold."""
    lines = [
        "# Recipes\n",
        _NOTE.format(source="src/luthier/core/plan.py"),
        _RECIPES,
        "```yaml",
        (FOLDER.parent / "recipes" / "support-intents.yaml").read_text(encoding="utf-8").rstrip(),
        "```\n",
        "## The recipe itself\n",
        *_table(
            [
                ("name", "text", "the file's name", "name of the run"),
                ("task", "text", '`"text-classification"`', "a registered task: [plugins](plugins.md#tasks)"),
                ("model", "text", '`"all-minilm-l6-v2"`', "a model of the [catalog](models.md), a folder, or a Hugging Face id"),
                ("executor", "text", '`"local"`', "where the stages run: [plugins](plugins.md#executors)"),
                ("ask", "list of text", "`[]`", Plan.model_fields["ask"].description or ""),
            ]
        ),
    ]
    for name, section in SECTIONS.items():
        summary = (section.__doc__ or "").strip().split("\n")[0]
        lines += [f"## {name}\n", f"{summary}\n", *_table([_field(name, key, info) for key, info in section.model_fields.items()])]
    lines += ["## Data sets that Luthier makes\n", *[f"- `made:{name}`" for name in made.NAMES], ""]
    return "\n".join(lines)


def _field(section: str, key: str, info: Any) -> tuple[str, str, str, str]:
    default = info.default if info.default is not PydanticUndefined else info.default_factory()
    bounds = [
        f"{sign} {getattr(rule, kind):g}"
        for rule in info.metadata
        for kind, sign in _SIGNS.items()
        if getattr(rule, kind, None) is not None
    ]
    meaning = (info.description or "") + (f" ({', '.join(bounds)})" if bounds else "")
    return f"{section}.{key}", _type(info.annotation), f"`{_plain(default)}`", meaning


_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def _plain(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else repr(value).replace("'", '"')


def _type(annotation: Any) -> str:
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if annotation in names:
        return names[annotation]
    choices = [part for part in get_args(annotation) if isinstance(part, str)]
    if choices:
        return " / ".join(f"`{choice}`" for choice in choices)
    return "mapping" if "dict" in str(annotation) else "list of text"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    head = ["| field | kind | default | meaning |", "|---|---|---|---|"]
    return [*head, *("| " + " | ".join([f"`{f}`", k, _cell(d), _cell(m)]) + " |" for f, k, d, m in rows), ""]


_MODELS = """\
`luthier models` lists these cards and says for each whether it can be used on this machine right now, and why not. Any other
Hugging Face id (`organization/name`) and any folder with `config.json`, `model.safetensors` and `tokenizer.json` work the same
way. Weights are read as safetensors only; a repository that offers a pickle only is refused, because loading one can run any
code.

Memory is what tuning needs in float32 with 640 tokens in a batch; the formulas and their sources are in `memory_bytes` of
`src/luthier/catalog/card.py`. Parameters are counted from the shape and checked against the published number in the tests.
"""
_NEW_MODEL = """
## A new model

One new entry in the file of its family, or one new file, in `src/luthier/catalog/models/`: `id`, `hub`, `architecture`, `tasks`,
`licence`, `languages`, `shape` (from its `config.json`; the fields are described in `Shape` of `src/luthier/catalog/card.py`) and
`parameters`. `family` holds what the entries share. Then `make docs`.
"""


def models() -> str:
    """The catalog as a page."""
    lines = [
        "# Models\n",
        _NOTE.format(source="src/luthier/catalog/models/*.yaml"),
        _MODELS,
    ]
    for architecture in ("encoder", "decoder", "vision"):
        lines += [f"## {architecture.capitalize()}s\n" if architecture != "vision" else "## Vision\n", *_models_table(architecture), ""]
    lines += ["## Hosted\n", "| model | at Azure | tuned by | notes |", "|---|---|---|---|"]
    for card in cards.list_cards():
        if card.architecture == "hosted":
            lines.append(f"| `{card.id}` | `{card.source.name}` | {', '.join(card.trained_by)} | {card.notes} |")
    lines.append(_NEW_MODEL)
    return "\n".join(lines)


def _models_table(architecture: str) -> list[str]:
    lines = [
        "| model | hub | parameters | context | licence | languages | full | lora | top | head |",
        "|---|---|--:|--:|---|---|--:|--:|--:|--:|",
    ]
    for card in cards.list_cards():
        if card.architecture == architecture:
            memory = " | ".join(f"{cards.memory_bytes(card, method) / 1e9:.1f} GB" for method in ("full", "lora", "top", "head"))
            lines.append(
                f"| `{card.id}` | {card.hub} | {card.parameters / 1e6:,.1f} M | {card.context_tokens or ''} | {card.licence} | "
                f"{', '.join(card.languages)} | {memory} |"
            )
    return lines


_ROOMS = {
    "tasks": "What differs by task.", "methods": "Which parameters learn.", "metrics": "Families of scores.",
    "baselines": "What a fine-tune is compared with.", "formats": "Files that prepare reads.", "runtimes": "What runs an exported graph.",
    "executors": "Where a job runs.", "sinks": "Where events go.",
}  # fmt: skip


def plugins() -> str:
    """Every plugin with its one-line summary."""
    lines = [
        "# Plugins\n",
        _NOTE.format(source="the `summary` of each plugin"),
        "A file's presence in its room is its registration: its name here is its name in YAML, on the command line and in REST.",
        "[CONTRIBUTING.md](../CONTRIBUTING.md) says how to add one, in this repository or in a package of your own.\n",
    ]
    for room in sorted(registry.ROOMS, key=list(_ROOMS).index):
        lines += [f"## {room.capitalize()}\n", f"{_ROOMS[room]}\n", "| name | what it is |", "|---|---|"]
        lines += [f"| `{name}` | {_cell(registry.get(room, name).summary)} |" for name in registry.names(room)]
        lines.append("")
    return "\n".join(lines)


def python() -> str:
    """The public names, with the first sentence of each."""
    lines = ["# Python\n", _NOTE.format(source="luthier.__all__"), "What `import luthier` gives; the README shows the walk through it.\n"]
    for name in sorted(getattr(luthier, "__all__", ())):
        thing = getattr(luthier, name)
        signature = str(inspect.signature(thing)) if inspect.isfunction(thing) else ""
        lines += [f"## {name}\n"] + ([f"`{name}{signature}`\n"] if signature else [])
        lines.append((inspect.getdoc(thing) or "").split("\n\n")[0] + "\n" if callable(thing) else "")
    return "\n".join(lines)


PAGES = {"recipes.md": recipes, "models.md": models, "plugins.md": plugins, "python.md": python}


def stale() -> list[str]:
    """The pages that differ from what the code says."""
    return [name for name, page in PAGES.items() if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != page()]


def main(arguments: list[str]) -> int:
    """Writes the stale pages, or only names them."""
    found = stale()
    for name in found:
        if "--check" not in arguments:
            (FOLDER / name).write_text(PAGES[name](), encoding="utf-8")
        print(("stale: " if "--check" in arguments else "written: ") + f"docs/{name}")
    return 1 if found and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
