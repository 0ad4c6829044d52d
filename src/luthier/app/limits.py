"""How often a key may ask, and how much at once: kept in the memory of one server, by a clock that never jumps."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from luthier.core.errors import RateLimited

MOST_BUCKETS = 10_000
"""Keys that are remembered; beyond it those are forgotten that may ask as much as ever."""


@dataclass
class _Bucket:
    """What is left of a key's minute (``tokens``, at the moment ``at``) and how many of its requests are being answered."""

    tokens: float
    at: float
    running: int = 0


@dataclass
class Grant:
    """What came of asking: ``headers`` go out with the response, ``refused`` is the error if it may not, ``leave`` gives the place back."""

    headers: dict[str, str] = field(default_factory=dict)
    refused: RateLimited | None = None
    leave: Callable[[], None] = lambda: None


class Limits:
    """Token buckets and counts, by key. The two limits are the defaults for keys without their own; 0: without limit.

    Several servers do not know of each other: with three of them a key may ask three times as often.
    """

    def __init__(self, requests_per_minute: int = 0, concurrent: int = 0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.requests_per_minute = requests_per_minute
        self.concurrent = concurrent
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    def enter(self, key: str, limits: Mapping[str, int]) -> Grant:
        """Takes a request of the key's minute and a place, if there are any; whoever entered must ``leave``."""
        a_minute = limits.get("requests_per_minute", self.requests_per_minute)
        at_once = limits.get("concurrent", self.concurrent)
        if not (a_minute or at_once):
            return Grant()
        with self._lock:
            bucket = self._bucket(key, a_minute)
            refused = _refused(bucket, a_minute, at_once)
            if refused is None:
                bucket.tokens -= 1
                bucket.running += 1
            headers = _headers(bucket.tokens, a_minute) if a_minute else {}
        return Grant(headers, refused) if refused is not None else Grant(headers, None, self._leaver(bucket))

    def running(self, key: str) -> int:
        """How many of a key's requests are being answered (of keys with a limit)."""
        with self._lock:
            return self._buckets[key].running if key in self._buckets else 0

    def _bucket(self, key: str, a_minute: int) -> _Bucket:
        """The key's bucket, filled by the time that went by; a bucket holds a minute's requests at most."""
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[key] = _Bucket(float(a_minute), now)
        bucket.tokens = min(float(a_minute), bucket.tokens + (now - bucket.at) * a_minute / 60) if a_minute else 0.0
        bucket.at = now
        return bucket

    def _forget(self, now: float) -> None:
        """A bucket that nobody touched for a minute is full."""
        if len(self._buckets) >= MOST_BUCKETS:
            self._buckets = {key: one for key, one in self._buckets.items() if one.running or now - one.at < 60}

    def _leaver(self, bucket: _Bucket) -> Callable[[], None]:
        done = False

        def leave() -> None:
            nonlocal done
            with self._lock:
                if not done:
                    done = True
                    bucket.running -= 1

        return leave


def _refused(bucket: _Bucket, a_minute: int, at_once: int) -> RateLimited | None:
    if a_minute and bucket.tokens < 1 - 1e-9:
        wait = max(math.ceil((1 - bucket.tokens) * 60 / a_minute - 1e-6), 1)
        return RateLimited(f"the key may ask {a_minute} times a minute", f"try again in {wait} s", wait)
    if at_once and bucket.running >= at_once:
        return RateLimited(f"{at_once} requests of the key are being answered, which is its most at once", "wait for one to end", 1)
    return None


def _headers(tokens: float, a_minute: int) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(a_minute),
        "x-ratelimit-remaining-requests": str(max(math.floor(tokens + 1e-9), 0)),
        "x-ratelimit-reset-requests": duration((a_minute - tokens) * 60 / a_minute),
    }


def duration(seconds: float) -> str:
    """As OpenAI's headers write it, in whole seconds, rounded up: ``0s``, ``1s``, ``6m0s``, ``1h0m0s``."""
    whole = max(math.ceil(seconds - 1e-6), 0)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"
