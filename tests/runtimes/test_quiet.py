"""Silence that several threads ask for ends with the last of them, and leaves everything as it was."""

from __future__ import annotations

import logging
import sys
import threading

from luthier.runtimes._quiet import quiet


def test_two_that_overlap_leave_nothing_silenced() -> None:
    before, out = logging.root.manager.disable, sys.stdout
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    seen: list[int] = []

    def first() -> None:
        with quiet():
            first_in.set()
            second_in.wait(5)
        first_out.set()

    def second() -> None:
        first_in.wait(5)
        with quiet():
            second_in.set()
            first_out.wait(5)
            seen.append(logging.root.manager.disable)

    threads = [threading.Thread(target=one) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [logging.WARNING], "still silent for the second when the first has ended"
    assert (logging.root.manager.disable, sys.stdout) == (before, out)
