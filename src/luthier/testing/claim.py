"""How a check says that something is wrong: always an ``AssertionError`` with one sentence."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec

Given = ParamSpec("Given")


def ensure(holds: bool, sentence: str) -> None:
    """Raises ``AssertionError`` with the sentence unless ``holds`` (an ``assert`` that ``python -O`` keeps)."""
    if not holds:
        raise AssertionError(sentence)


def who(plugin: Any) -> str:
    """What a plugin is called in a sentence: its name, else its class."""
    name = getattr(plugin, "name", "")
    return name if isinstance(name, str) and name else type(plugin).__name__


def checks(check: Callable[Given, None]) -> Callable[Given, None]:
    """Makes every error that a plugin (the first argument) raises an ``AssertionError`` that names it; the traceback stays attached."""

    @functools.wraps(check)
    def checked(*args: Given.args, **kwargs: Given.kwargs) -> None:
        try:
            check(*args, **kwargs)
        except AssertionError:
            raise
        except Exception as error:
            plugin = args[0] if args else kwargs.get("plugin")
            raise AssertionError(f"{who(plugin)}: raised {type(error).__name__} over good input: {error}") from error

    return checked


def refuses(error: type[Exception], call: Callable[[], object], sentence: str) -> None:
    """Ensures that ``call`` raises ``error``; the sentence says what should be refused."""
    try:
        call()
    except error:
        return
    except Exception as other:
        raise AssertionError(f"{sentence} with {error.__name__}, not with {type(other).__name__}: {other}") from other
    raise AssertionError(f"{sentence} with {error.__name__}, but it was taken")


def as_json(value: Any, what: str) -> str:
    """The value's JSON; it must be plain (no numpy, no NaN)."""
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{what} cannot be written as JSON: {error}") from error


@contextlib.contextmanager
def without(*libraries: str, what: str) -> Iterator[None]:
    """Inside, importing one of the libraries fails, as on a machine that lacks it, and is reported as the mistake of ``what``."""
    hidden = {name: module for name, module in sys.modules.items() if name.split(".")[0] in libraries}
    absent = [library for library in libraries if library not in hidden]
    for name in (*hidden, *absent):
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    except ImportError as error:
        if (error.name or "").split(".")[0] in libraries:
            raise AssertionError(f"{what} imports {error.name}: it must work on a machine without {', '.join(libraries)}") from error
        raise
    finally:
        sys.modules.update(hidden)
        for name in absent:
            sys.modules.pop(name, None)
