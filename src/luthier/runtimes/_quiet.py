"""Silences what exporters print and warn of, which no reader of a stage's events needs; several threads may be at it at once."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Iterator

_LOCK = threading.Lock()
_open: list[contextlib.ExitStack] = []
"""One entry a block that is open; the first of them holds what is to be put back, so that the last one does so."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, nothing reaches standard output and error through Python, and only errors are logged: for the whole process."""
    with _LOCK:
        _open.append(_silenced() if not _open else _open[0])
    try:
        yield
    finally:
        with _LOCK:
            stack = _open.pop()
            if not _open:
                stack.close()


def _silenced() -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    stack.callback(logging.disable, logging.root.manager.disable)
    logging.disable(logging.WARNING)
    stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
    stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
    return stack
