"""Claims: who works on a cell, so that several commands can share one folder, also over a network.

A claim is a file beside the cell's folder that its owner touches with a rising count. It is left by a process
that died on this machine, and by any whose count has stood still for a minute of our own clock: no two
machines' clocks are compared, and none may be set back.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gqn_transfer.files import write_text

BEAT = 5.0
"""Seconds between two touches."""
STALE = 60.0
"""Seconds without one after which a claim counts as left."""
LOST = 70
"""Exit status of a process whose claim somebody else has, or that can no longer touch it."""

_seen: dict[Path, tuple[str, float]] = {}
"""Claims of others: what they said last, and since when, by our monotonic clock. Only a process that looks
more than once can tell that one stands still."""


@contextmanager
def claimed(place: Path) -> Iterator[bool]:
    """True if `place` is ours within the block, False if another process works on it."""
    lock, token = lock_of(place), uuid.uuid4().hex
    if not _take(lock, token):
        yield False
        return
    ended = threading.Event()
    beat = threading.Thread(target=_keep_beating, args=(lock, token, ended), daemon=True)
    beat.start()
    try:
        yield True
    finally:
        ended.set()
        beat.join()
        if _owner(lock) == token:
            lock.unlink(missing_ok=True)


def is_claimed(place: Path) -> bool:
    """True if a process has it, as far as this one's looks can tell."""
    text = _read(lock_of(place))
    return text is not None and not _is_left(lock_of(place), text)


def free_if_left(place: Path) -> bool:
    """Remove the claim of an owner who has left it; True if `place` is free for whoever claims it now.

    For those who look again and again and let others claim: a new process has seen nothing stand still.
    """
    return _remove_left(lock_of(place), uuid.uuid4().hex)


def lock_of(place: Path) -> Path:
    """The file that claims `place`."""
    return place.with_name(f"{place.name}.lock")


def _take(lock: Path, token: str) -> bool:
    lock.parent.mkdir(parents=True, exist_ok=True)
    if _create(lock, token):
        return True
    return _remove_left(lock, token) and _create(lock, token)


def _create(lock: Path, token: str) -> bool:
    """False if it exists. The link makes it appear with its content in one step."""
    draft = lock.with_name(f".{lock.name}.{token}")
    write_text(draft, _text(token, 0))
    try:
        os.link(draft, lock)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def _remove_left(lock: Path, token: str) -> bool:
    """Remove a claim that its owner has left; False if it has not, or somebody else was faster."""
    text = _read(lock)
    if text is None:
        return True
    if not _is_left(lock, text):
        return False
    aside = lock.with_name(f".{lock.name}.{token}.left")
    try:
        os.rename(lock, aside)  # of several that try, one succeeds
    except FileNotFoundError:
        return False
    if _read(aside) != text:  # it was a new one: back with it
        os.rename(aside, lock)
        return False
    aside.unlink()
    return True


def _is_left(lock: Path, text: str) -> bool:
    before, since = _seen.get(lock, ("", 0.0))
    if before != text:
        _seen[lock] = text, time.monotonic()
        return _owner_died_here(text)
    return time.monotonic() - since > STALE or _owner_died_here(text)


def _owner_died_here(text: str) -> bool:
    """True if the owner ran on this machine, since its last start, and is no more."""
    try:
        owner = json.loads(text)
        machine, pid, started = owner["machine"], int(owner["pid"]), owner["started"]
    except (ValueError, KeyError, TypeError):
        return False
    return machine == _machine() and _started(pid) != started


def _keep_beating(lock: Path, token: str, ended: threading.Event) -> None:
    """Touch the claim until the block ends; end this process if it has lost it."""
    count, touched = 0, time.monotonic()
    while not ended.wait(BEAT):
        try:
            if _owner(lock) != token:
                _end(f"{lock} was taken over while this process was held up")
            count += 1
            write_text(lock, _text(token, count))
            touched = time.monotonic()
        except OSError as error:  # a full disk, a server away: it may pass before the claim counts as left
            if time.monotonic() - touched > STALE / 2:
                _end(f"{lock} cannot be touched: {error}")


def _end(why: str) -> None:
    """At once: whoever takes over must not find us at work."""
    print(f"{why}; this process ends, the same command goes on", file=sys.stderr, flush=True)
    os._exit(LOST)


def _text(token: str, count: int) -> str:
    pid = os.getpid()
    owner = {"token": token, "machine": _machine(), "pid": pid, "started": _started(pid), "count": count}
    return json.dumps(owner)


def _owner(lock: Path) -> Any:
    try:
        return json.loads(_read(lock) or "{}").get("token")
    except ValueError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _machine() -> str:
    """This machine since its last start, and the container: its processes have numbers of their own."""
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{start} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str | None:
    """When a process of this machine began, None if there is none: numbers are used again."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None if Path("/proc/self").exists() else "unknown"
