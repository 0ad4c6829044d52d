"""The error tree: every error is also a standard one, has a code, and says what to do about it.

LuthierError
├── InputError (ValueError)            what a person gave is wrong; names the place
│   ├── RowError                       one row of a data file
│   └── SpecError                      one field of a recipe
├── UnknownName (LookupError)          no such model, task, artifact, endpoint ...; did you mean
├── MissingExtra (ImportError)         an optional library is not installed; the exact install line
├── NotPossible (RuntimeError)         the plan cannot work here (memory, method, machine)
├── GateRefused (RuntimeError)         a gate (refused rows, leakage, parity, bars) said no, and by how much
├── Conflict (RuntimeError)            somebody else holds it (two runs in one folder)
├── Damaged (OSError)                  a file is torn, altered or missing
├── UnsafeFile (PermissionError)       pickle, path escape, remote code: refused
├── Unauthorized (PermissionError)     no key, or one that is not valid (any more)
├── Forbidden (PermissionError)        the key may not do that
├── Overloaded (RuntimeError)          too many requests at once; try again in a moment
├── RateLimited (RuntimeError)         this key asked more often than it may; says when to try again
├── QuotaExceeded (RuntimeError)       the workspace holds as much as it may (storage, jobs)
├── NoSpace (OSError)                  the disk is full; what was finished is kept
├── Stopped (RuntimeError)             somebody asked the work to stop; what it reached is kept
└── JobFailed (RuntimeError)           a stage ended with an error; carries the stage's own words
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar


class LuthierError(Exception):
    """The root. ``message`` names the value and the place, ``hint`` the remedy, ``code`` is stable."""

    code: ClassVar[str] = "error"
    carries: ClassVar[tuple[str, ...]] = ()
    """Attributes of its own that travel with it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message

    def as_json(self) -> dict[str, Any]:
        """The one JSON shape of every error."""
        return {"code": self.code, "message": self.message, "hint": self.hint} | {name: getattr(self, name) for name in self.carries}


class InputError(LuthierError, ValueError):
    """What a person gave is wrong."""

    code = "invalid_input"


class RowError(InputError):
    """One row cannot be used; ``field`` names the column, the reader adds file and line."""

    code = "invalid_row"
    carries = ("field", "reason")

    def __init__(self, field: str, reason: str, remedy: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason, remedy)
        self.field = field
        self.reason = reason

    @property
    def remedy(self) -> str:
        """The hint, by the word that a refused row has for it."""
        return self.hint


class SpecError(InputError):
    """One field of a recipe is wrong; ``path`` is dotted (``train.learning_rate``)."""

    code = "invalid_spec"
    carries = ("path",)

    def __init__(self, path: str, reason: str, hint: str = "") -> None:
        super().__init__(f"{path}: {reason}" if path else reason, hint)
        self.path = path


class UnknownName(LuthierError, LookupError):
    """Nothing has that name."""

    code = "not_found"

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str]) -> UnknownName:
        """The error for ``name`` with the nearest known names as the hint."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        if near:
            hint = "did you mean " + " or ".join(repr(n) for n in near) + "?"
        elif names:
            hint = "known: " + ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
        else:
            hint = f"there is no {kind} yet"
        return cls(f"unknown {kind} {name!r}", hint)


class MissingExtra(LuthierError, ImportError):
    """An optional library is missing."""

    code = "missing_extra"
    carries = ("extra",)

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed", f"pip install 'luthier[{extra}]'")
        self.extra = extra


class NotPossible(LuthierError, RuntimeError):
    """The plan cannot work on this machine."""

    code = "not_possible"


class GateRefused(LuthierError, RuntimeError):
    """A gate said no; the message says by how much."""

    code = "gate_refused"


class Conflict(LuthierError, RuntimeError):
    """Somebody else holds what this needs."""

    code = "conflict"


class Damaged(LuthierError, OSError):
    """A file is torn, altered or missing."""

    code = "damaged"


class UnsafeFile(LuthierError, PermissionError):
    """A file that could run code, or a path that leaves its folder."""

    code = "unsafe_file"


class Unauthorized(LuthierError, PermissionError):
    """No key was sent, or one that is unknown, expired or revoked."""

    code = "invalid_api_key"


class Forbidden(LuthierError, PermissionError):
    """The key is valid and may not do that."""

    code = "forbidden"


class Overloaded(LuthierError, RuntimeError):
    """Too many requests wait already; ``retry_after_s`` says when to try again."""

    code = "overloaded"
    retry_after_s = 1


class RateLimited(LuthierError, RuntimeError):
    """A key asked more often than it may; ``retry_after_s`` says when to try again."""

    code = "rate_limit_exceeded"
    carries = ("retry_after_s",)

    def __init__(self, message: str, hint: str = "", retry_after_s: int = 1) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class QuotaExceeded(LuthierError, RuntimeError):
    """The workspace holds as much as it may; waiting does not help, deleting does."""

    code = "insufficient_quota"


class NoSpace(LuthierError, OSError):
    """The disk is full."""

    code = "no_space"


class Stopped(LuthierError, RuntimeError):
    """Somebody asked the work to stop; what it reached is kept."""

    code = "stopped"


KILLED = "killed"
"""The ``cause_code`` of a stage whose process was killed by a signal, not for memory: nothing is known against the work itself."""

OUT_OF_MEMORY = "out_of_memory"
"""The ``cause_code`` of a stage that was killed by SIGKILL when the kernel killed for memory, or when nobody can tell."""


class JobFailed(LuthierError, RuntimeError):
    """A stage ended with an error; ``cause_code`` is the code of the stage's own error."""

    code = "job_failed"
    carries = ("cause_code",)

    def __init__(self, message: str, hint: str = "", cause_code: str = "error") -> None:
        super().__init__(message, hint)
        self.cause_code = cause_code


_KINDS: dict[str, type[LuthierError]] = {
    kind.code: kind
    for kind in (
        InputError, RowError, SpecError, UnknownName, MissingExtra, NotPossible, GateRefused, Conflict, Damaged, UnsafeFile, Unauthorized,
        Forbidden, Overloaded, RateLimited, QuotaExceeded, NoSpace, Stopped,
    )
}  # fmt: skip


def from_json(data: dict[str, Any]) -> LuthierError:
    """The error a stage process reported, rebuilt on this side (unknown codes become JobFailed)."""
    code, message, hint = str(data.get("code", "error")), str(data.get("message", "")), str(data.get("hint", ""))
    kind = _KINDS.get(code)
    if kind is None:
        return JobFailed(message, hint, cause_code=str(data.get("cause_code", code)))
    # Not by its own __init__, which makes the message from parts: the message is there already.
    error = kind.__new__(kind)
    LuthierError.__init__(error, message, hint)
    for name in kind.carries:
        value = data.get(name, "")
        setattr(error, name, value if isinstance(value, int) else str(value))
    return error
