# SPDX-License-Identifier: Apache-2.0
"""fork() and gRPC. A connection does not survive a fork, and a fork in the middle of a gRPC call leaves a child whose
next use of gRPC crashes. So: every process opens its own connection (`process_key`), and a fork waits a moment for the
calls under way (`CallGate`) and for connections that are just being opened (`opening`).
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Tuple

from ._progress import log

# Longer than most calls; a fork must not hang because of one that is stuck.
MAX_FORK_WAIT_S = 5.0

# Held while a connection is opened: gRPC loads parts of itself then, and a child forked in the middle of an import
# would wait for its end for ever.
opening = threading.RLock()

_generation = 0
_gates: "weakref.WeakSet[CallGate]" = weakref.WeakSet()
_closed_gates: list = []


def process_key() -> Tuple[int, int]:
    """Differs between any two processes, even when the system uses a process number again."""
    return (os.getpid(), _generation)


class CallGate:
    """Counts the calls under way; while a fork is on, new ones wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._active = 0
        self._shut = False
        _gates.add(self)

    def __enter__(self) -> None:
        with self._changed:
            while self._shut:
                self._changed.wait()
            self._active += 1

    def enter_again(self) -> None:
        """One more call, begun within another one. `leave` ends it, from any thread."""
        with self._changed:
            self._active += 1

    def __exit__(self, *_exc) -> None:
        self.leave()

    def leave(self) -> None:
        with self._changed:
            self._active -= 1
            if self._active == 0:
                self._changed.notify_all()

    def shut(self) -> bool:
        with self._changed:
            self._shut = True
            return self._changed.wait_for(lambda: self._active == 0, MAX_FORK_WAIT_S)

    def reopen(self) -> None:
        with self._changed:
            self._shut = False
            self._changed.notify_all()


def _before() -> None:
    opening.acquire()
    _closed_gates[:] = list(_gates)
    if not all([gate.shut() for gate in _closed_gates]):
        log.warning("fork() in the middle of a call to embedd: the child may fail. Fork before the calls start.")


def _after_in_parent() -> None:
    for gate in _closed_gates:
        gate.reopen()
    _closed_gates.clear()
    opening.release()


def _after_in_child() -> None:
    global _generation, opening
    _generation += 1
    opening = threading.RLock()
    _closed_gates.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
