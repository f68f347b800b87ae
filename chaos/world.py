"""A world for one play of a fault: a store of its own, hosts, and a log of what ran.

Everything is in one directory, whose name is in the command line, the environment or the working
directory of every process: that is how :func:`sweep` finds what was left.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from chaos.executions import Executions
from chaos.jobs import jobs_toml
from chaos.processes import SERVERS, having, is_attempt, kill_all, name_of
from chaos.waits import Stopwatch, expect, until
from jobctl.client.open import Session
from jobctl.client.sending import Receipt, send_many
from jobctl.client.steps import AWAY
from jobctl.client.submit import Wish, prepare
from jobctl.model.run import FINAL_LETTERS
from jobctl.store.address import Address
from jobctl.store.binary import find_binary
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.codec import complete, items_of, text
from jobctl.store.keys import Keys
from tests.acceptance.host import Host
from tests.acceptance.trouble import Server

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from jobctl.model.admission import NewRun

T = TypeVar("T")

TTL = 30.0
"""Seconds after which a silent supervisor is dead to the others."""
TAKEOVER = TTL + 20.0
"""Within so many seconds others have taken over what a dead host ran: TTL, looks, the claim."""


def _record(reply: object) -> dict[str, str]:
    items = [item.decode("utf-8", "replace") for item in items_of(reply)]
    fields = dict(zip(items[::2], items[1::2], strict=True))
    complete(fields)
    return fields


class World:
    """What one play of a fault works with; ``seed`` feeds :attr:`random`."""

    SERVERS = "servers"
    """Where in its directory servers of groups have theirs, if there are any."""

    def __init__(self, seed: int, directory: Path, *, number: int = 0) -> None:
        """Make it for fault ``number``; the shared store starts with the first host that uses it."""
        self.seed = seed
        self.random = random.Random(f"{number}.{seed}")
        self._turn = seed
        self.directory = directory
        self.binary = find_binary(os.environ.get("JOBCTL_TEST_STORE"))
        (directory / "store").mkdir()
        self.server = Server(self.binary, directory=directory / "store")
        self.url = self.server.url
        """Where hosts look for the store, unless :meth:`host` is told otherwise."""
        self.started = False
        self.hosts: dict[str, Host] = {}
        self.executions = Executions(directory)
        self.measured: dict[str, object] = {}
        """For the report: what was seen, by a few words."""
        self.accepted: dict[str, str] = {}
        """By id: the job of every run whose acceptance was answered."""
        self.lost: set[str] = set()
        """Accepted runs that may be missing: the fault destroyed the store's data."""
        self.may_overlap = False
        """Whether a plain job may run twice at once: its host was cut off past the TTL."""
        self.may_repeat = False
        """Whether a completed execution may be repeated: its outcome was destroyed."""
        self.may_redo: set[str] = set()
        """Jobs of which the same is true."""
        self.may_stay: set[str] = set()
        """Runs that need not end."""
        self.may_say: list[str] = []
        """Findings about the store that are part of the fault: words they contain."""
        self.set_back = False
        """Whether records may know of fewer executions than there were: the store is a backup."""
        self.foreign = False
        """Whether the store has what is not jobctl's: only findings that name an accepted run count."""
        self.silent: set[str] = set()
        """Jobs that do not tell of their executions."""
        self.strangers = False
        """Whether runs exist that the world did not submit: schedules, or answers that were lost."""
        self.addresses: Address | None = None
        self._sessions: dict[str, Session] = {}

    def pick(self, *options: T) -> T:
        """Return one of ``options``: successive seeds take turns, so that few cover all of them."""
        self._turn, index = divmod(self._turn, len(options))
        return options[index]

    # --- the store ---

    def start_store(self, *options: str) -> None:
        """Start the shared server and wait until it answers."""
        self.server.start(*options)
        self.started = True

    def raw(self, *words: str | int) -> Any:
        """Send one command to the store."""
        with self.connect() as store:
            return store.run(Call(words, lambda reply: reply))

    def connect(self, *, timeout: float = 20.0) -> BlockingStore:
        """Return a connection to the store that the first host uses; ``timeout`` in seconds."""
        return BlockingStore(self.address, timeout=timeout)

    @property
    def address(self) -> Address:
        """Where the store is, as the first host has it."""
        if self.addresses is not None:
            return self.addresses
        first = next(iter(self.hosts.values()), None)
        if first is not None and first.redis is None:
            return Address.of_embedded(first.state)
        return Address.parse(self.url)

    @property
    def keys(self) -> Keys:
        """The names of the world's keys."""
        return Keys("default")

    def records(self) -> dict[str, dict[str, str]]:
        """Return the raw fields of every run, by id (see jobctl/store/keys.py)."""
        head = f"{self.keys.prefix}r:"
        with self.connect() as store:
            names: set[str] = set()
            cursor = "0"
            while True:
                words = ("SCAN", cursor, "MATCH", head + "*", "COUNT", 2000)
                position, found = items_of(store.run(Call(words, lambda reply: reply)))
                names.update(text(name) for name in found)
                cursor = text(position)
                if cursor == "0":
                    break
            ordered = sorted(names)
            replies: list[Any] = []
            for i in range(0, len(ordered), 500):
                calls = [Call(("HGETALL", n), lambda r: r) for n in ordered[i : i + 500]]
                replies += store.run_many(calls)
        result = {}
        for name, reply in zip(ordered, replies, strict=True):
            result[name[len(head) :]] = _record(reply)
        return result

    def record(self, run: str) -> dict[str, str]:
        """Return the raw fields of one run; empty when there is none."""
        return _record(self.raw("HGETALL", self.keys.run(run)))

    # --- hosts ---

    def host(
        self,
        name: str = "a",
        *,
        jobs: str = "",
        settings: str = "",
        slots: int = 4,
        embedded: bool = False,
        signed: bool = False,
        start: bool = True,
        **environment: str,
    ) -> Host:
        """Return a host with :data:`chaos.jobs.JOBS` and ``jobs`` more, by default with its daemon ready.

        ``settings`` are lines of ``[jobctl]``; ``environment`` is for daemon and commands. With
        ``signed``, all hosts have one key file; an embedded store signs anyway.
        """
        place = self.directory / name
        place.mkdir(exist_ok=True)
        host = Host(directory=place, name=name, redis=None if embedded else self.url)
        host.extra.update(environment)
        self.hosts[name] = host
        key_file = self.directory / "signing.keys"
        if signed:
            jobs += f'\n[security]\nkey_file = "{key_file}"\n'
        self.configure(host, jobs=jobs, settings=settings, slots=slots)
        if signed and not key_file.exists():
            host.run("keys", "init", "--file", str(key_file))
        if not embedded and not self.started and self.url == self.server.url and start:
            self.start_store()
        if start:
            host.start()
        return host

    def configure(self, host: Host, *, jobs: str = "", settings: str = "", slots: int = 4) -> None:
        """Write (again) what a host reads."""
        host.write(jobs_toml(self.directory, host.name, slots) + jobs, settings=settings)

    def session(self, host: Host) -> Session:
        """Return a client of a host, in this process: quick submits without a command line."""
        if host.name not in self._sessions:
            self._sessions[host.name] = Session.open(str(host.config))
        return self._sessions[host.name]

    # --- runs ---

    def submit(self, job: str, *args: object, host: Host | None = None, **wish: Any) -> str:
        """Submit one run and return its id, which then counts as accepted."""
        return self.submit_many([(job, args)], host=host, **wish)[0]

    def submit_many(
        self,
        wanted: Iterable[tuple[str, tuple[object, ...]]],
        *,
        host: Host | None = None,
        **wish: Any,
    ) -> list[str]:
        """Submit many runs in one call to the store; return the ids of those accepted, in order.

        Repeated with the same ids until the store has answered, for up to a minute.
        """
        session = self.session(host or next(iter(self.hosts.values())))
        runs = [
            prepare(session, Wish(job, args=[str(arg) for arg in args], text=True, **wish))
            for job, args in wanted
        ]
        accepted = {one.id: one.job for one in self._insist(session, runs) if one.accepted}
        self.accepted |= accepted
        return list(accepted)

    def _insist(self, session: Session, runs: list[NewRun]) -> list[Receipt]:
        def answered() -> list[Receipt]:
            with contextlib.suppress(*AWAY):
                return list(send_many(session, runs))
            return []

        return until(answered, "the store takes runs") if runs else []

    def take(self, host: Host, job: str, *words: object) -> str:
        """Submit by the command line and return the id."""
        run = host.submit(job, *map(str, words))
        self.accepted[run] = job
        return run

    def go(self, *names: str) -> None:
        """Let jobs end that wait for a name; without names, all."""
        for name in names or ("",):
            (self.directory / (f"go.{name}" if name else "go")).touch()

    def wait_begun(self, *runs: str, times: int = 1, within: float = 60.0) -> None:
        """Wait until each run has begun ``times`` times by its own account."""
        for run in runs:
            until(
                lambda run=run: self.executions.count(run) >= times,  # type: ignore[misc]
                f"execution {times} of {run} ({self.accepted.get(run)})",
                within=within,
            )

    def wait_started(self, *runs: str, within: float = 60.0) -> None:
        """Wait until the store knows that each run was started."""
        for run in runs:
            until(
                lambda run=run: self.record(run).get("s") == "r",  # type: ignore[misc]
                f"the start of {run} in the store",
                within=within,
            )

    def wait_work(self, *, within: float) -> float:
        """Return after how many seconds a new run was executed; fail after ``within``.

        It overtakes what waits: what counts is that somebody works.
        """
        watch = Stopwatch()
        run = self.submit("work", 0, priority=9)
        until(lambda: self.executions.count(run, "end") > 0, "a new run is done", within=within)
        return watch.seconds

    def wait_final(self, *runs: str, within: float = 90.0) -> list[dict[str, str]]:
        """Return the raw records of runs once all are final."""
        found: dict[str, dict[str, str]] = {}

        def there() -> bool:
            for run in runs:
                if run not in found:
                    record = self.record(run)
                    if record.get("s", "q") not in FINAL_LETTERS:
                        return False
                    found[run] = record
            return True

        until(there, f"the end of {len(runs)} runs", within=within, every=0.2)
        return [found[run] for run in runs]

    def expect_state(self, run: str, letter: str, *, within: float = 90.0, **fields: str) -> None:
        """Wait for the end of a run and compare its raw fields."""
        (record,) = self.wait_final(run, within=within)
        wanted = {"s": letter, **fields}
        seen = {name: record.get(name, "") for name in wanted}
        expect(seen == wanted, f"run {run} is {seen}, must be {wanted}")

    # --- processes ---

    def supervisor(self, host: Host) -> psutil.Process:
        """Return the daemon that was started last on a host."""
        return psutil.Process(host.daemons[-1].pid)

    def pools(self, host: Host) -> list[psutil.Process]:
        """Return its pool processes."""
        return having(host, "jobctl.engine.pool_main")

    def keepers(self, host: Host) -> list[psutil.Process]:
        """Return its keepers."""
        return having(host, "keeper.py")

    def store_process(self, host: Host | None = None) -> psutil.Process:
        """Return the server of the world, or the embedded one of ``host``."""
        place = str(host.state if host else self.directory / "store")
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = " ".join(process.cmdline())
                if process.name() in SERVERS and (place in words or place in process.cwd()):
                    return process
        raise RuntimeError(f"no server of {place}")

    def kill_host(self, host: Host, *, attempts: bool = True) -> None:
        """End everything of a host at once, as a power failure would."""
        found = [p for p in host.processes() if attempts or not is_attempt(p)]
        if host.redis is None:
            found = [p for p in found if name_of(p) not in SERVERS]
        kill_all(found)
        for daemon in host.daemons:
            daemon.wait()

    def close(self) -> None:
        """Kill the daemons and the shared server; what else is left is for the sweep."""
        for session in self._sessions.values():
            session.close()
        for host in self.hosts.values():
            for daemon in host.daemons:
                daemon.kill()
                daemon.wait()
        with contextlib.suppress(AssertionError):
            self.server.kill()

    def identity(self, host: Host) -> str:
        """Return the id of a host's supervisor."""
        return str(json.loads((host.state / "supervisor.json").read_text())["supervisor"])
