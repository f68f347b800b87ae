"""A session: one configuration, and a connection to its store that is made when first used.

Cheap to import and to make: the command line's start-up depends on it.
"""

from __future__ import annotations

import os
import time

from jobctl.client import steps
from jobctl.client.patience import Patience, usual_wait
from jobctl.clock import SYSTEM_CLOCK
from jobctl.config.load import read_plain
from jobctl.errors import JobctlError, NoSuchJob, UnreachableError
from jobctl.model.config import (
    config_from_plain,
    job_from_plain,
    security_from_plain,
    settings_from_plain,
)
from jobctl.model.job import DEFAULT_QUEUE, EXEC_JOB, JobDef, Overlap, QueueDef
from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.failures import StoreBusyError
from jobctl.store.keys import Keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Self, TypeVar

    from jobctl.client.steps import Steps
    from jobctl.clock import Clock
    from jobctl.errors import ConfigError
    from jobctl.model.config import Config, Settings
    from jobctl.store.calls import Call
    from jobctl.store.keyring import Signing

    T = TypeVar("T")

RESTART = 10.0
"""Seconds after the end of a daemon in which another one is expected."""
LONGEST_ANSWER = 5.0
"""Seconds that an answer may take."""
NEAREST = 3
"""Names offered for one that is not known."""


class Session:
    """What one command works with: settings, definitions and the store."""

    def __init__(self, plain: Mapping[str, Any], *, clock: Clock = SYSTEM_CLOCK) -> None:
        """``plain`` is the plain form of a checked configuration."""
        self.clock = clock
        self.settings: Settings = settings_from_plain(plain)
        self.keys = Keys(self.settings.namespace)
        self.path = str(plain.get("path", ""))
        self.store_wait = usual_wait()
        """Seconds that a request waits for a store that is away for a moment."""
        self.answer_wait = LONGEST_ANSWER
        """Seconds that it waits for the answer of one that hangs."""
        self.known_queues: set[str] = set()
        """Queues that were looked for and found."""
        self.for_programs = False
        """Whether Python programs use it, and read its messages, rather than people at a terminal."""
        self.of_command = False
        """Whether the process is a command, which ends soon, and nobody else's."""
        self.roomy_until = 0.0
        """Until when, by the monotonic clock, nobody has to look whether a disk is full."""
        self._plain = plain
        self._jobs: dict[str, JobDef] = {}
        self._config: Config | None = None
        self._store: BlockingStore | None = None
        self._signing: Signing | None = None

    @classmethod
    def open(
        cls,
        config: str | None = None,
        *,
        on_last_good: Callable[[ConfigError], None] | None = None,
    ) -> Self:
        """Read the configuration named, or the usual one; raises ``ConfigError``.

        With ``on_last_good``, a configuration that is wrong now counts as it last was right, and
        it is told what is wrong: for commands that only read.
        """
        return cls(read_plain(config, on_last_good=on_last_good))

    @property
    def address(self) -> Address:
        """Where the store is; raises ``ConfigError`` for a URL that cannot be used."""
        if self.settings.redis is None:
            return Address.of_embedded(self.settings.state_dir)
        return Address.parse(self.settings.redis).serving(self.settings.namespace)

    @property
    def store(self) -> BlockingStore:
        """The connection; prefer :meth:`run` and :meth:`run_many`."""
        if self._store is None:
            self._store = BlockingStore(self.address, timeout=self.answer_wait)
        return self._store

    @property
    def signing(self) -> Signing:
        """What signs runs and orders; raises as :func:`jobctl.store.keyring.load`."""
        if self._signing is None:
            from jobctl.store.keyring import Signing  # noqa: PLC0415 (what only reads needs no key)

            security = security_from_plain(self._plain)
            self._signing = Signing(
                security, self.settings, now=self.clock.epoch, on_trouble=lambda _: None
            )
        return self._signing

    @property
    def config(self) -> Config:
        """The whole configuration; :meth:`job` is cheaper for one job."""
        if self._config is None:
            import gc  # noqa: PLC0415 (only who needs all jobs pays)

            # A command ends before the garbage among many jobs is worth a look.
            collects = gc.isenabled() and not self.of_command
            gc.disable()
            try:
                self._config = config_from_plain(self._plain)
            finally:
                if collects:
                    gc.enable()
        return self._config

    def config_of(self, job: str) -> Config:
        """Return the configuration with one job only; raises ``NoSuchJob``."""
        if self._config is not None:
            return self._config
        plain = {name: item for name, item in self._plain.items() if name != "jobs"}
        return config_from_plain(plain, [self.job(job)])

    @property
    def job_names(self) -> list[str]:
        """Names of all defined jobs, in the order of the files."""
        return list(self._plain.get("jobs", ()))

    @property
    def queueing_jobs(self) -> list[str]:
        """Names of the jobs of which a run may wait for another one of the same job."""
        waiting = (Overlap.QUEUE, Overlap.QUEUE_ALL, Overlap.REPLACE)
        jobs: dict[str, dict[str, object]] = self._plain.get("jobs", {})
        return [name for name, job in jobs.items() if job.get("overlap") in waiting]

    def find_job(self, name: str) -> JobDef | None:
        """Return the definition of ``name``, or ``None``."""
        if name not in self._jobs:
            if name == EXEC_JOB:
                self._jobs[name] = JobDef(name=EXEC_JOB, command=("@args",))
            elif name in self._plain.get("jobs", ()):
                self._jobs[name] = job_from_plain(self._plain["jobs"][name])
            else:
                return None
        return self._jobs[name]

    def job(self, name: str) -> JobDef:
        """Return the definition of ``name``; raises ``NoSuchJob`` with the nearest names."""
        found = self.find_job(name)
        if found is None:
            raise NoSuchJob(self.unknown_job(name), job=name)
        return found

    def queue(self, name: str) -> QueueDef | None:
        """Return the limits of a queue, or ``None`` when it has none."""
        found = self._plain.get("queues", {}).get(name)
        return None if found is None else QueueDef(**found)

    def has_queue(self, name: str) -> bool:
        """Tell whether the configuration has a queue: by itself, of a pool, a job or a schedule."""
        if name not in self.known_queues:
            if name in self._named_queues():
                self.known_queues.add(name)
            else:
                # Every job is looked at; a hundred thousand take a second, once.
                self.known_queues |= self._queues_of_jobs()
        return name in self.known_queues

    def queue_names(self) -> set[str]:
        """Return the queues that the configuration has."""
        return self._named_queues() | self._queues_of_jobs()

    def _named_queues(self) -> set[str]:
        pools: dict[str, dict[str, Any]] = self._plain.get("pools", {})
        served = {name for pool in pools.values() for name in pool.get("queues", (DEFAULT_QUEUE,))}
        return {DEFAULT_QUEUE, *self._plain.get("queues", ()), *served} - {"*"}

    def _queues_of_jobs(self) -> set[str]:
        jobs: dict[str, dict[str, Any]] = self._plain.get("jobs", {})
        tables = (table for job in jobs.values() for table in (job, *job.get("schedules", ())))
        return {table["queue"] for table in tables if table.get("queue")}

    def least_slots(self, pool: str) -> int:
        """Return the fewest slots that a pool of the configuration may have."""
        return int(self._plain.get("pools", {}).get(pool, {}).get("min") or 1)

    def unknown_job(self, name: str) -> str:
        """Return the sentence for a job that is not defined."""
        if not self.path:
            return (
                f"no job {shown(name)} is known here: this client has no jobs.toml, which says how "
                "runs are submitted; copy it to this host, and name it in Client(config) or $JOBCTL_CONFIG"
            )
        return f"no job {shown(name)} in {self.path or 'jobs.toml'}{hint(name, self.job_names)}"

    def run(self, call: Call[T]) -> T:
        """Carry out one call; raises a branch of ``JobctlError``."""
        found: T = self.run_many((call,))[0]
        return found

    def run_many(
        self, calls: Sequence[Call[Any]], *, patience: Patience | None = None
    ) -> list[Any]:
        """Carry out several calls in one round trip; they are repeated over a restart of the store.

        ``patience`` (default: :attr:`store_wait` seconds) tells afterwards what happened.
        """
        return self.carry_out(steps.patiently(self, calls, patience=patience))

    def try_many(self, calls: Sequence[Call[Any]]) -> list[Any | JobctlError]:
        """Carry out several calls; errors of single ones stand in the place of their results."""
        tried = steps.patiently(self, calls)
        return steps.carry_out(tried, send=self._try, pause=time.sleep)

    def outlast(self, calls: Sequence[Call[Any]], *, until: float | None = None) -> list[Any]:
        """Carry out calls that only read, over a longer outage, as :func:`steps.outlast` says."""
        return self.carry_out(steps.outlast(self, calls, until=until))

    def carry_out(self, what: Steps[T]) -> T:
        """Return the result of a use case; this thread waits for its answers and its pauses."""
        try:
            return steps.carry_out(what, send=self._send, pause=time.sleep)
        except JobctlError as error:
            raise error from None  # it says all that those do from which it came

    def _send(self, calls: Sequence[Call[Any]]) -> list[Any]:
        within = steps.seconds_left(calls, self.clock)
        return self.store.run_many(calls, within=within)

    def _try(self, calls: Sequence[Call[Any]]) -> list[Any]:
        return self.store.try_many(calls)

    def again(self, ids: Sequence[str]) -> str:
        """Return how runs are submitted again under their ids, in words for who reads messages."""
        if self.for_programs:
            shown = ", ".join(repr(one) for one in ids[:NEAREST])
            if len(ids) == 1:
                return f"it with _id={shown}"
            more = ", …" if len(ids) > NEAREST else ""
            return f"each of these items with its id as _id ({shown}{more}; all are in `ids`)"
        return f"it with --id {ids[0]}" if len(ids) == 1 else "it with the same ids"

    def patience(self, began: float | None = None) -> Patience:
        """Return the time for one request, which begins now, or ``began`` by the monotonic clock."""
        return Patience(self.store_wait, self.clock, began=began)

    def comes_back(self, error: JobctlError, patience: Patience) -> bool:
        """Tell whether the store may answer soon: an embedded one is served by its daemon.

        Between two daemons there is none. A program waits then wherever one has been; a submit at a
        terminal where one has ended just now, and other commands say at once that none is up.
        """
        if self.settings.redis is not None or isinstance(error, StoreBusyError):
            return True
        state_dir = self.settings.state_dir
        if daemon_is_up(state_dir):
            return True
        left = daemon_left(state_dir)
        if left is None or not (self.for_programs or patience.submits):
            return False
        return self.for_programs or self.clock.epoch() - left < RESTART

    def unreachable(self, error: UnreachableError) -> UnreachableError:
        """Return the error in the user's words: without ``redis =`` the daemon serves the store."""
        if self.settings.redis is not None:
            return error
        return UnreachableError(
            f"no daemon is running for {self.path} (nothing listens at {self.address.path}); "
            f"start it with `jobctl daemon{self.config_flag}`"
        )

    @property
    def config_flag(self) -> str:
        """`` --config FILE`` for a remedy, unless the file would be found without it."""
        usual = (os.path.abspath("jobs.toml"), "/etc/jobctl/jobs.toml")  # noqa: PTH100 (pathlib costs 10 ms)
        return "" if self.path in usual else f" --config {self.path}"

    def adopt(self, other: Session) -> None:
        """Go on with the connection of another session of the same store, and its patience."""
        self._store = other._store
        self.store_wait = other.store_wait

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._store is not None:
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def daemon_is_up(state_dir: str) -> bool:
    """Tell whether a supervisor holds the lock of this state directory."""
    import fcntl  # noqa: PLC0415 (only asked in trouble)

    try:
        fd = os.open(f"{state_dir}/supervisor.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def daemon_left(state_dir: str) -> float | None:
    """Return when the last daemon was seen to come or to go, in epoch seconds; ``None`` for never."""
    seen = []
    for name in ("supervisor.json", "store"):
        try:
            seen.append(os.stat(f"{state_dir}/{name}").st_mtime)  # noqa: PTH116 (texts)
        except OSError:
            continue
    return max(seen, default=None)


def shown(word: str, most: int = 60) -> str:
    """Return a word of the user's for a message: quoted, printable and not too long."""
    text = repr(word)
    return text if len(text) <= most else text[: most - 2] + "…'"


def hint(name: str, known: Sequence[str]) -> str:
    """Return ``; did you mean …?`` for the nearest names, or the list when it is short."""
    from difflib import get_close_matches  # noqa: PLC0415 (7 ms, and only for a mistake)

    near = get_close_matches(name[:100].lower(), known, n=NEAREST, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    if not known:
        return "; it defines no jobs"
    listed = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")  # noqa: PLR2004 (one line)
    return f"; it has {listed}"
