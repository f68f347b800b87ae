"""The host journal of a pool: what it runs and how that ended, written before the store hears of it.

A pool that is killed is followed by one with the same owner id and the same journal, which goes on
where it stopped: attempts that still run are adopted, those that ended are settled, outcomes that
the store had not acknowledged are sent again (the store knows them by their epoch).

One JSON array a line; a line that was cut off is passed over. It is not synced: it has to survive
the processes of jobctl, while after a power failure nothing it speaks of runs any more.

==  =====================================================================================
i   about to be started: run, epoch, attempt, slot, seconds since boot, kind, job, lost,
    interrupted, max attempts, first start or 0, timeout of the request or null
s   started: run, pid, birth of the process and start of the attempt in seconds since boot,
    the latter in epoch seconds; nothing comes between the i and the s of an attempt
b   a bundle that a Python child may begin: slot, its number with that child, pid, birth of the
    process and now in seconds since boot, and of each run what its i would say and its seal
x   the leader was seen to end: pid, status as of ``wait4``, seconds since boot
t   stopped by jobctl: run, kind, reason, error
e   settled: run, epoch, letter, reason, delay, fields; its seal, if the start is not counted yet
==  =====================================================================================
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from json.encoder import encode_basestring
from typing import TYPE_CHECKING

from jobctl.engine.bundle_content import bundle_of
from jobctl.engine.journal_content import parse
from jobctl.store.compact import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from jobctl.engine.ending import Finding
    from jobctl.engine.ledger import Held
    from jobctl.store.settling import Settlement

COMMAND, PYTHON = "command", "python"
"""Kinds of attempts."""

COMPACT_AT = 1024 * 1024
"""Bytes after which what is settled is left out of a new file."""

OF_A_BUNDLE = b'["b",'
OF_A_RUN = frozenset({b'["i","', b'["s","', b'["t","', b'["e","'})
"""How lines begin that go on with the id of one run."""
ID_AT = 6
"""Where it begins."""
SUCCESS = ("at", 1, "a1", None, "rc", 0)
"""What is set for a run that succeeded at its first attempt, but for the entry of that."""
_log = logging.getLogger(__name__)


def since_boot() -> float:
    """Return seconds since this host started, time asleep included: the same for all processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class HostJournal:
    """Writes the journal. A full disk costs the journal, never the run: that is said once."""

    def __init__(self, path: Path, fd: int | None = None) -> None:
        """``fd`` is a descriptor on ``path`` that was inherited; it is closed by :meth:`close`."""
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600) if fd is None else fd
        os.set_inheritable(self._fd, False)  # noqa: FBT003 - the only form it has
        self._size = os.fstat(self._fd).st_size
        self._broken = False
        if self._size:
            self._write(b"\n")  # the last line may have been cut off

    @property
    def size(self) -> int:
        """Bytes in it."""
        return self._size

    def starting(self, held: Held, *, slot: int, kind: str) -> None:
        """Note that the leader of an attempt is about to be made.

        Without this, one whose pool is killed before it can note the process would be unknown.
        """
        claim, request = held.claim, held.request
        first = claim.first_started_at or 0
        timeout = "null" if request.timeout is None else request.timeout
        # By hand: this is done for every run, and none of these words needs an escape.
        self._write(
            f'["i","{claim.id}",{claim.epoch},{held.attempt},{slot},{since_boot():.3f},"{kind}",'
            f'"{request.job}",{claim.lost},{claim.interrupted},{request.max_attempts},{first},'
            f"{timeout}]\n".encode()
        )

    def started(self, held: Held, *, born: float) -> None:
        """Note that the leader of an attempt runs; ``born`` is its start in seconds since boot."""
        self._write(
            f'["s","{held.claim.id}",{held.pid},{born:.3f},{since_boot():.3f},'
            f"{held.started_at:.3f}]\n".encode()
        )

    def bundle(self, runs: list[Held], *, slot: int, pid: int, born: float, number: int) -> None:
        """Note runs that a child may begin one after the other; how far it is its tally tells."""
        rows = [
            (
                held.claim.id,
                held.claim.epoch,
                held.attempt,
                held.request.job,
                held.claim.lost,
                held.claim.interrupted,
                held.request.max_attempts,
                held.claim.first_started_at or 0,
                held.request.timeout,
                *(() if held.signed is None else (held.signed, int(held.last_start))),
            )
            for held in runs
        ]
        self._write(_line("b", slot, number, pid, round(born, 3), round(since_boot(), 3), rows))

    def ended(self, pid: int, status: int) -> None:
        """Note how a leader ended; called before it is reaped, so that this is never forgotten."""
        self._write(b'["x",%d,%d,%.3f]\n' % (pid, status, since_boot()))

    def stopped(self, run_id: str, finding: Finding) -> None:
        """Note why an attempt is being stopped."""
        reason = finding.reason and finding.reason.value
        self._write(_line("t", run_id, finding.kind.value, reason, finding.error))

    def settled(self, items: Iterable[Settlement]) -> None:
        """Note outcomes, in one write; call it before they are sent."""
        self._write(b"".join(map(_settled, items)))

    def forget(self) -> None:
        """Empty it: nothing runs and everything is acknowledged."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            self._size = 0
            self._broken = False

    def compact(self, running: Iterable[str], unsettled: Iterable[str]) -> None:
        """Leave out what is settled, in place: the lock that is on the file must stay on it."""
        data = b"".join(_relevant(self.path.read_bytes(), {*running, *unsettled}))
        draft = self.path.with_suffix(".compact")
        try:
            # A copy first: a pool that dies between the two writes leaves one of them whole.
            draft.write_bytes(data)
            os.ftruncate(self._fd, 0)
            self._size = 0
            self._write(data)
            draft.unlink()
        except OSError as error:
            self._trouble(error)

    def close(self) -> None:
        """Close the file; it stays."""
        os.close(self._fd)

    def remove(self) -> None:
        """Delete the file: nothing it says matters any more."""
        for path in (self.path, self.path.with_suffix(".compact")):
            with contextlib.suppress(OSError):
                path.unlink()

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._fd, b"\n" + data if self._broken else data)
        except OSError as error:
            self._trouble(error)
            return
        self._size += written
        self._broken = written < len(data)

    def _trouble(self, error: OSError) -> None:
        if not self._broken:
            _log.error(
                "the host journal %s cannot be written: %s; until that is mended, runs whose pool "
                "is killed are run again", self.path, error.strerror,
            )  # fmt: skip
        self._broken = True


def _settled(item: Settlement) -> bytes:
    fields = item.fields
    if item.letter == "k" and len(fields) == len(SUCCESS) and item.id.isalnum():
        entry = fields[3]
        if type(entry) is str and (*fields[:3], None, *fields[4:]) == SUCCESS:
            # By hand: most are like this, and it takes less than half the time.
            end = "" if item.signed is None else f",{item.signed},{int(item.last_start)}"
            return (
                f'["e","{item.id}",{item.epoch},"k","{item.reason}",{item.delay},'
                f'["at",1,"a1",{encode_basestring(entry)},"rc",0]{end}]\n'
            ).encode("utf-8", "backslashreplace")
    words = ("e", item.id, item.epoch, item.letter, item.reason, item.delay)
    seal = () if item.signed is None else (item.signed, int(item.last_start))
    try:
        return _line(*words, item.fields, *seal)
    except TypeError:  # some of them are bytes, which is rare
        return _line(*words, [_text(part) for part in item.fields], *seal)


def _text(part: str | bytes | int) -> str | int:
    return part.decode("utf-8", "backslashreplace") if isinstance(part, bytes) else part


def _line(*words: object) -> bytes:
    return encode(words).encode("utf-8", "backslashreplace") + b"\n"


def _perhaps(data: bytes, wanted: set[str]) -> list[bytes]:
    """Return the lines that may be about one of these runs, without reading any of them."""
    ids = {run_id.encode("utf-8", "backslashreplace") for run_id in wanted}
    return [
        line
        for line in data.splitlines(keepends=True)
        if line[:ID_AT] not in OF_A_RUN
        or (run := line[ID_AT : line.find(b'"', ID_AT)]) in ids
        or b"\\" in run
    ]


def _without_old_bundles(lines: Iterable[bytes]) -> list[bytes]:
    """Return lines without those of bundles whose slot has had another one since."""
    kept: list[bytes] = []
    had: set[bytes] = set()
    for line in reversed([*lines]):
        if line.startswith(OF_A_BUNDLE):
            slot = line.split(b",", 2)[1]
            if slot in had:
                continue
            had.add(slot)
        kept.append(line)
    kept.reverse()
    return kept


def _relevant(data: bytes, wanted: set[str]) -> Iterator[bytes]:
    """Yield the lines about some runs, with the exits of their leaders."""
    pids = set()
    for line in _without_old_bundles(_perhaps(data, wanted)):
        words = parse(line)
        if not words:
            continue
        if words[0] == "b":
            kept = bundle_of(words, wanted)
            if kept is not None:
                pids.add(words[3])
                yield _line(*kept)
            continue
        if words[0] == "s" and words[1] in wanted:
            pids.add(words[2])
        if words[1] in (pids if words[0] == "x" else wanted):
            yield line
