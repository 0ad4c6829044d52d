"""How an endpoint goes from one version to another: its traffic table, who is answered by which, the steps of a canary; pure functions."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

from luthier.core.errors import InputError

State = Literal["running", "promoted", "rolled_back", "aborted"]

MOVES: dict[State, frozenset[State]] = {
    "running": frozenset({"running", "promoted", "rolled_back", "aborted"}),
    "promoted": frozenset(),
    "rolled_back": frozenset(),
    "aborted": frozenset(),
}
"""Legal moves of a rollout. ``running -> running`` is the next step; what comes after the end is a rollout of its own."""

Look = Literal["wait", "look", "last"]
"""What is to be done now: nothing, a judgement on the way, or the one that ends the step."""

BUCKETS = 10_000


def may_move(old: State, new: State) -> bool:
    """Whether a rollout in ``old`` may become ``new``."""
    return new in MOVES[old]


def version_name(number: int) -> str:
    """What people call a version: ``v3``."""
    return f"v{number}"


def check_traffic(table: Mapping[str, int]) -> None:
    """Raises ``InputError`` unless the shares (whole percents by version) are 0 to 100 each and sum to 100; the message has the sum."""
    for name, share in table.items():
        if not 0 <= share <= 100:
            raise InputError(f"traffic: {name} has {share} %, which is not 0 to 100", "shares are whole percents")
    total = sum(table.values())
    if total != 100:
        said = ", ".join(f"{name} {share}" for name, share in table.items()) or "nothing"
        raise InputError(f"traffic: the shares sum to {total}, not 100 ({said})", "let them sum to 100")


def check_steps(steps: Sequence[int]) -> list[int]:
    """The shares of a canary, ending with 100; raises ``InputError`` unless they are 1 to 100 and rise."""
    if not steps or any(not 1 <= share <= 100 for share in steps) or any(a >= b for a, b in itertools.pairwise(steps)):
        raise InputError(f"canary: {', '.join(map(str, steps)) or 'nothing'} are no rising shares from 1 to 100", "write e.g. 5,25,100")
    return [*steps] if steps[-1] == 100 else [*steps, 100]


def bucket_of(endpoint: str, user: str) -> int:
    """0 to 9,999, always the same for a user of an endpoint: who asks as the same user is answered by the same version."""
    digest = hashlib.blake2b(f"{endpoint}\0{user}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS


def chosen(table: Sequence[tuple[str, int]], bucket: int) -> str:
    """The version that a bucket falls to. ``table``: version and percent, the oldest first.

    A newer version takes the buckets from the top, so that whom a canary of 5 % answers it answers at 25 % too.
    """
    end = 0
    for name, share in table:
        end += share * BUCKETS // 100
        if bucket < end:
            return name
    return table[-1][0]


def look_due(answers: int, against: int, *, least: int, next_look: int, elapsed_s: float, step_s: float) -> Look:
    """When a step is judged: each time the candidate's answers have doubled, and at the step's end; never before both versions have
    ``least``. A step goes on until they do.
    """
    if min(answers, against) < least:
        return "wait"
    if elapsed_s >= step_s:
        return "last"
    return "look" if answers >= next_look else "wait"


def alpha_of_look(alpha: float, number: int) -> float:
    """What look ``number`` (from 0) of a rollout may spend of ``alpha``: 1/2, 1/6, 1/12 ..., together not more than all of it.

    So a candidate that is no worse is rolled back with probability ``alpha`` at most, however often it is looked at.
    """
    return alpha / ((number + 1) * (number + 2))


def move_after(look: Look, broken: bool, step: int, steps: int) -> tuple[State, int]:
    """The state and the step that follow a look at step ``step`` (from 0) of ``steps``: the last of them is to have all traffic."""
    if broken:
        return "rolled_back", step
    if look != "last":
        return "running", step
    return ("promoted", steps - 1) if step + 2 >= steps else ("running", step + 1)
