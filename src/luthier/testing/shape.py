"""Whether a plugin has the shape of its port: the attributes, the methods, and their parameters."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_args, get_origin, get_type_hints

from luthier.testing.claim import ensure, who

LONGEST_SUMMARY = 120
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def check_shape(plugin: Any, port: type) -> None:
    """Checks ``plugin`` against a Protocol of ``core.ports``."""
    for attribute, kind in get_type_hints(port).items():
        _check_attribute(plugin, port.__name__, attribute, kind)
    if "name" in get_type_hints(port):
        _check_words(plugin)
    for method, promised in vars(port).items():
        if inspect.isfunction(promised) and not method.startswith("_"):
            _check_method(plugin, port.__name__, method, promised)


def _check_words(plugin: Any) -> None:
    name, summary = plugin.name, plugin.summary
    ensure(_NAME.fullmatch(name) is not None, f"{name!r}: a name is lower-case words joined by hyphens, as in 'text-classification'")
    ensure(bool(summary.strip()) and "\n" not in summary, f"{name}: summary must be one sentence on one line")
    ensure(len(summary) <= LONGEST_SUMMARY, f"{name}: summary has {len(summary)} characters, {LONGEST_SUMMARY} at most")
    ensure(not re.search(r"[.!?]\s+\S", summary), f"{name}: summary is more than one sentence: {summary!r}")


def _check_attribute(plugin: Any, port: str, attribute: str, kind: Any) -> None:
    ensure(hasattr(plugin, attribute), f"{who(plugin)}: has no {attribute}, which every {port} has")
    value, outer = getattr(plugin, attribute), get_origin(kind) or kind
    ensure(isinstance(value, outer), f"{who(plugin)}: {attribute} is a {type(value).__name__}, not a {outer.__name__}")
    if outer is tuple:
        inner = get_args(kind)[0]
        wrong = [one for one in value if not isinstance(one, inner)]
        ensure(not wrong, f"{who(plugin)}: {attribute} holds {wrong[:1]}, which is no {inner.__name__}")


def _check_method(plugin: Any, port: str, method: str, promised: Any) -> None:
    own = getattr(plugin, method, None)
    ensure(callable(own), f"{who(plugin)}: has no method {method}, which every {port} has")
    wanted = list(inspect.signature(promised).parameters.values())[1:]
    signature = inspect.signature(own)  # type: ignore[arg-type]
    said = f"{who(plugin)}: {method}{signature} cannot be called like {port}.{method}({', '.join(map(str, wanted))})"
    needed = [one for one in wanted if one.default is one.empty]
    for given in (needed, wanted):
        # Each argument is the name that it stands for, so that two that were swapped show.
        by_place = [one.name for one in given if one.kind is not one.KEYWORD_ONLY]
        by_name = {one.name: one.name for one in given if one.kind is one.KEYWORD_ONLY}
        try:
            bound = signature.bind(*by_place, **by_name)
            signature.bind(**{one.name: one.name for one in given})
        except TypeError as error:
            raise AssertionError(f"{said}: {error}") from error
        swapped = [name for name, value in bound.arguments.items() if isinstance(value, str) and value != name]
        ensure(not swapped, f"{said}: {', '.join(swapped)} stands in another place")
