"""Children that a template forks: what they share, what they do not, and how they are replaced."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from real_attempts import Attempts, alive, own_children, until

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine import template_host, templates, warm_python
from jobctl.engine.nursery import Nursery
from jobctl.engine.repose import Repose
from jobctl.engine.seats import Seats
from jobctl.engine.slot import Slot
from jobctl.engine.tree import children_of, read_process
from jobctl.engine.workplace import Workplace
from jobctl.model.job import JobDef
from jobctl.model.pool import PoolDef
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobctl.model.run import Outcome

MODULE = """
import os, signal, time
LOADED_BY = os.getpid()
BORN = []

def loaded_by():
    return [LOADED_BY, os.getpid()]

def who():
    return [os.getppid(), os.getsid(0), os.getpgid(0), os.getpid()]

def sees():
    return [os.getcwd(), os.umask(0o22), os.environ.get("JOBCTL_RUN_ID"), os.environ.get("SECRET")]

def start():
    BORN.append(os.getpid())

def linger():
    time.sleep(0.2)

def hang():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open("here", "w").close()
    time.sleep(60)

def leave(): os._exit(3)
def fail():
    raise LookupError("no database")

def stop():
    with open("exits", "a") as file:
        file.write(f"{os.getpid()}\\n")

def born():
    return [BORN, os.getpid()]

def value():
    return 1
"""


class Nest:
    """Slots of one pool whose children come from one nursery."""

    def __init__(self, attempts: Attempts, **pool: Any) -> None:
        self.attempts = attempts
        self.pool = PoolDef(name="p", **{"slots": 2, **pool})
        self.file = attempts.directory / "jobs.py"
        self.write(MODULE)

    def write(self, source: str) -> None:
        self.file.write_text(source)
        then = self.file.stat().st_mtime - 60
        os.utime(self.file, (then, then))

    def inside(self, scenario: Callable[[Nest], Awaitable[None]]) -> None:
        async def whole() -> None:
            before = own_children()
            place = Workplace.open(dirs=self.attempts.dirs, clock=SYSTEM_CLOCK)
            self.nursery = Nursery(self.pool, place)
            self.slots = [
                Slot(
                    name=f"t.{n}",
                    workplace=place,
                    nursery=self.nursery,
                    max_runs_per_child=self.pool.max_runs_per_child,
                )
                for n in range(self.pool.slots)
            ]
            try:
                await scenario(self)
            finally:
                for slot in self.slots:
                    await slot.close()
                await self.nursery.close()
                place.close()
                assert own_children() <= before

        asyncio.run(whole())

    async def run(self, function: str, slot: int = 0, **more: Any) -> Outcome:
        job = JobDef(
            name="py", python=f"jobs:{function}", **{"cwd": str(self.attempts.directory), **more}
        )
        return await self.slots[slot].execute(self.attempts.specify(job))

    async def result(self, function: str, slot: int = 0, **more: Any) -> Any:
        outcome = await self.run(function, slot, **more)
        assert outcome.kind is OutcomeKind.SUCCEEDED, outcome.error
        return json.loads(outcome.result or "null")

    def _all(self) -> list[int]:
        mine = os.getsid(0)
        return [
            pid
            for pid in children_of(os.getpid())
            if (process := read_process(pid)) is not None
            and process.session == mine
            and b"preload" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    def template(self) -> int:
        """Return the process id of the template, which stays in this session."""
        (found,) = self._all()
        return found

    @property
    def templates(self) -> int:
        """How many live."""
        return len(self._all())


def waits_for_interpreter(slot: Slot) -> bool:
    """Return whether its attempt would end at once if it were stopped now."""
    return slot._now is not None and slot._now._early is not None


def test_preloaded_modules_are_imported_once_for_all_children(attempts: Attempts) -> None:
    async def story(nest: Nest) -> None:
        one, two = await nest.result("loaded_by", 0), await nest.result("loaded_by", 1)

        assert one[0] == two[0] == nest.template()
        assert one[1] != two[1]

    Nest(attempts, preload=("jobs",)).inside(story)


@pytest.mark.parametrize("preload", [(), ("jobs",)])
def test_forked_child_is_a_child_of_the_pool_in_its_own_session(
    attempts: Attempts, preload: tuple[str, ...]
) -> None:
    async def story(nest: Nest) -> None:
        parent, session, group, pid = await nest.result("who")

        assert parent == os.getpid()
        assert session == group == pid

    Nest(attempts, preload=preload).inside(story)


def test_forked_child_has_directory_umask_and_environment_of_its_job(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "of the daemon")

    async def story(nest: Nest) -> None:
        cwd, umask, run_id, secret = await nest.result("sees", umask=0o27)

        assert (cwd, umask) == (str(attempts.directory), 0o27)
        assert run_id == "run0000000000001"
        assert secret is None

    Nest(attempts).inside(story)


def test_crash_of_a_forked_child_is_told_and_the_next_call_gets_another(
    attempts: Attempts,
) -> None:
    async def story(nest: Nest) -> None:
        nest.write(MODULE + "\ndef crash():\n    os.kill(os.getpid(), 11)\n")
        outcome = await nest.run("crash")

        assert (outcome.kind, outcome.signal) == (OutcomeKind.FAILED, signal.SIGSEGV)
        assert await nest.result("value") == 1

    Nest(attempts, preload=("jobs",)).inside(story)


def test_template_whose_files_changed_is_replaced(attempts: Attempts) -> None:
    async def story(nest: Nest) -> None:
        assert await nest.result("value", 0) == 1
        first = nest.template()
        nest.write(MODULE.replace("return 1", "return 2222"))

        assert await nest.result("value", 1) == 2222
        await until(lambda: not alive(first), what="the end of the first template")

    Nest(attempts, preload=("jobs",)).inside(story)


def test_template_that_dies_is_replaced(attempts: Attempts) -> None:
    async def story(nest: Nest) -> None:
        assert await nest.result("value", 0) == 1
        first = nest.template()
        os.kill(first, signal.SIGKILL)
        await until(lambda: not alive(first))

        assert await nest.result("value", 1) == 1
        assert nest.template() != first

    Nest(attempts, preload=("jobs",)).inside(story)


def test_preload_that_fails_is_the_reason_of_the_run(attempts: Attempts) -> None:
    async def story(nest: Nest) -> None:
        outcome = await nest.run("value")

        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.SPAWN)
        assert "did not become ready: preload = no_such_module failed:" in (outcome.error or "")
        assert (outcome.error or "").endswith(
            "No module named 'no_such_module'; mend the module, or preload of the pool"
        )

    Nest(attempts, preload=("no_such_module",)).inside(story)


def test_preload_that_ends_the_template_is_named(attempts: Attempts) -> None:
    async def story(nest: Nest) -> None:
        nest.write("import os\nprint('bye', flush=True)\nos._exit(3)\n")
        outcome = await nest.run("value")

        assert outcome.reason is Reason.SPAWN
        assert outcome.error == (
            f"preload = jobs ended {sys.executable} instead of being imported, "
            "and had printed: bye; mend the module, or preload of the pool"
        )

    Nest(attempts, preload=("jobs",)).inside(story)


@pytest.mark.parametrize("slots", [1, 2])
def test_program_that_is_no_python_is_named_and_nothing_else(
    attempts: Attempts, slots: int
) -> None:
    async def story(nest: Nest) -> None:
        outcome = await nest.run("value", interpreter="/bin/true")

        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.SPAWN)
        assert (outcome.error or "").startswith("/bin/true ended without a word")

    Nest(attempts, slots=slots, child_init="jobs:start").inside(story)


@pytest.mark.parametrize("slots", [1, 2])
def test_directory_that_is_missing_has_its_own_remedy(attempts: Attempts, slots: int) -> None:
    async def story(nest: Nest) -> None:
        outcome = await nest.run("value", cwd="/no/where")

        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.SPAWN)
        assert outcome.error == (
            "working directory /no/where: No such file or directory; "
            "make it a directory that the job's user can enter, or mend cwd of the job"
        )

    Nest(attempts, slots=slots).inside(story)


def test_preload_that_starts_threads_is_not_forked(attempts: Attempts) -> None:
    async def story(nest: Nest) -> None:
        nest.write(
            MODULE
            + "\nimport threading, time\n"
            + "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        )
        loader, pid = await nest.result("loaded_by")

        assert loader == pid

    Nest(attempts, preload=("jobs",)).inside(story)


def test_child_init_is_called_once_in_each_child(attempts: Attempts) -> None:
    async def story(nest: Nest) -> None:
        for slot in (0, 0, 1):
            born, pid = await nest.result("born", slot)

            assert born == [pid]

    Nest(attempts, child_init="jobs:start").inside(story)


@pytest.mark.parametrize("slots", [1, 2])
def test_child_init_that_fails_is_the_reason_of_the_run(attempts: Attempts, slots: int) -> None:
    async def story(nest: Nest) -> None:
        outcome = await nest.run("value")

        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.SPAWN)
        assert "child_init = jobs:fail failed" in (outcome.error or "")
        assert "LookupError: no database" in (outcome.error or "")
        assert "CPython 3.9" not in (outcome.error or "")

    Nest(attempts, child_init="jobs:fail", slots=slots).inside(story)


@pytest.mark.parametrize(
    ("hook", "why"),
    [
        ("jobs:missing", "no function 'missing' in 'jobs'"),
        ("nowhere:start", "no module 'nowhere' for 'nowhere:start' in cwd "),
    ],
)
@pytest.mark.parametrize("slots", [1, 2])
def test_child_init_that_is_not_there_is_told_in_words(
    attempts: Attempts, slots: int, hook: str, why: str
) -> None:
    async def story(nest: Nest) -> None:
        outcome = await nest.run("value")
        error = outcome.error or ""

        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.SPAWN)
        assert f"did not become ready: child_init = {hook} failed: {why}" in error
        assert error.endswith("; mend the function, or child_init of the pool")
        assert "Traceback" not in error
        assert "_jobctl_child" not in error

    Nest(attempts, child_init=hook, slots=slots).inside(story)


@pytest.mark.parametrize("slots", [1, 2])
def test_child_init_that_ends_the_child_is_named(attempts: Attempts, slots: int) -> None:
    async def story(nest: Nest) -> None:
        outcome = await nest.run("value")

        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.SPAWN)
        assert outcome.error == (
            f"child_init = jobs:leave ended {sys.executable} instead of returning; "
            "mend the function, or child_init of the pool"
        )

    Nest(attempts, child_init="jobs:leave", slots=slots).inside(story)


HANGS = "while not os.path.exists('go'): open('here', 'w').close(); time.sleep(0.01)"


@pytest.mark.parametrize(
    ("slots", "options", "more"),
    [
        (1, {"child_init": "jobs:hang"}, ""),
        (2, {"child_init": "jobs:hang"}, ""),
        (2, {"preload": ("jobs",)}, HANGS),
    ],
    ids=["alone", "of a template", "preload"],
)
def test_run_that_waits_for_an_interpreter_ends_at_once_when_it_is_stopped(
    attempts: Attempts,
    monkeypatch: pytest.MonkeyPatch,
    slots: int,
    options: dict[str, Any],
    more: str,
) -> None:
    async def story(nest: Nest) -> None:
        run = asyncio.create_task(nest.run("value", stop_timeout=60.0))
        await until((attempts.directory / "here").exists, what="it hangs")
        nest.slots[0].stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)

        outcome = await asyncio.wait_for(run, 5)
        assert (outcome.kind, outcome.reason) == (OutcomeKind.REVOKED, Reason.USER)
        assert outcome.pid is None
        (attempts.directory / "go").touch()
        monkeypatch.setattr(warm_python, "CLOSE_PATIENCE", 0.0)
        monkeypatch.setattr(template_host, "FORK_PATIENCE", 0.1)

    nest = Nest(attempts, slots=slots, **options)
    nest.write(f"{MODULE}\n{more}\n")
    nest.inside(story)


def test_cancelled_attempt_takes_along_an_interpreter_that_is_not_ready(
    attempts: Attempts,
) -> None:
    async def story(nest: Nest) -> None:
        before = own_children()
        run = asyncio.create_task(nest.run("value"))
        await until((attempts.directory / "here").exists, what="it hangs")
        run.cancel()
        await asyncio.wait_for(asyncio.gather(run, return_exceptions=True), 5)
        assert own_children() <= before

    Nest(attempts, slots=1, child_init="jobs:hang").inside(story)


def test_child_exit_is_called_when_a_child_ends(attempts: Attempts) -> None:
    pids: list[int] = []

    async def story(nest: Nest) -> None:
        pids.append((await nest.result("born"))[1])

    Nest(attempts, child_exit="jobs:stop").inside(story)

    assert (attempts.directory / "exits").read_text() == f"{pids[0]}\n"


def test_successor_starts_before_the_next_call(attempts: Attempts) -> None:
    async def story(nest: Nest) -> None:
        pid = (await nest.result("born"))[1]
        await until(
            lambda: any(
                (process := read_process(one)) is not None
                and process.session == one
                and one != pid
                and not process.zombie
                for one in own_children()
            ),
            what="the successor",
        )
        assert (await nest.result("born"))[1] != pid

    Nest(attempts, max_runs_per_child=1).inside(story)


async def rest_until(nest: Nest, repose: Repose, done: Callable[[], bool], what: str) -> None:
    """Let the pool look after its idle children until something is so; slot 0 is used next."""
    idle = [slot.python for slot in reversed(nest.slots)]

    def looked() -> bool:
        repose.look(idle, now=SYSTEM_CLOCK.monotonic())
        return done()

    await until(looked, what=what)


def test_children_that_have_nothing_to_do_go_but_for_the_one_that_is_used_next(
    attempts: Attempts,
) -> None:
    async def story(nest: Nest) -> None:
        pids = [(await nest.result("born", slot))[1] for slot in range(3)]

        await rest_until(
            nest, Repose(0.05), lambda: not alive(pids[1]) and not alive(pids[2]), what="rest"
        )

        assert (await nest.result("born", 0))[1] == pids[0]
        assert (await nest.result("born", 1))[1] not in pids
        left = (attempts.directory / "exits").read_text().split()
        assert {*map(int, left)} == {*pids[1:]}

    Nest(attempts, slots=3, child_exit="jobs:stop").inside(story)


def test_successor_that_waits_goes_as_well(attempts: Attempts) -> None:
    async def story(nest: Nest) -> None:
        first, second = (slot.python for slot in nest.slots)
        await nest.result("born", 0)
        await until(lambda: first.resting is not None, what="its successor")
        await nest.result("born", 1)
        await until(lambda: second.resting is not None, what="the other's successor")
        waiting = nest.slots[1].python.resting
        assert waiting is not None

        await rest_until(nest, Repose(0.05), lambda: not alive(waiting.child.pid), what="rest")

        assert nest.slots[1].python.resting is None
        await nest.result("born", 1)
        await until(lambda: nest.slots[1].python.resting is not None, what="the next successor")

    Nest(attempts, max_runs_per_child=1).inside(story)


def test_start_that_waits_counts_by_the_clock(attempts: Attempts) -> None:
    async def story(nest: Nest) -> None:
        await nest.result("value")
        warm = nest.slots[0].python.resting
        assert warm is not None
        # It may have begun to wait a moment before anybody counts; of CPU it takes a hundredth.
        assert warm.child.start_cost > 0.1

    Nest(attempts, child_init="jobs:linger").inside(story)


def test_one_that_stays_does_not_keep_its_successor(attempts: Attempts) -> None:
    async def story(nest: Nest) -> None:
        python = nest.slots[0].python
        pid = (await nest.result("born"))[1]
        await until(lambda: python.children == 2, what="its successor")

        await rest_until(nest, Repose(0.05), lambda: python.children == 1, what="rest")

        assert (await nest.result("born"))[1] == pid
        await until(lambda: python.children == 2, what="another successor")

    Nest(attempts, max_runs_per_child=100).inside(story)


def gone(pid: int, nest: Nest) -> bool:
    nest.slots[0].processes.tidy()
    return pid not in own_children()


async def same_child_twice(nest: Nest, slot: int) -> bool:
    first, second = [(await nest.result("born", slot))[1] for _ in range(2)]
    return bool(first == second)


def test_child_that_is_just_being_forked_is_nothing_that_another_left(attempts: Attempts) -> None:
    async def story(nest: Nest) -> None:
        # As long as nobody watches over it, it looks like this one.
        newborn = subprocess.Popen(["sleep", "60"])  # noqa: ASYNC220
        try:
            assert await same_child_twice(nest, 0)
        finally:
            newborn.kill()
            newborn.wait()

    Nest(attempts).inside(story)


def test_what_a_command_may_leave_is_nothing_that_a_function_left(attempts: Attempts) -> None:
    async def story(nest: Nest) -> None:
        job = JobDef(
            name="sh", command="sleep 60 & echo $! > left", leftovers="keep",
            cwd=str(attempts.directory),
        )  # fmt: skip
        outcome = await nest.slots[1].execute(attempts.specify(job))
        assert outcome.kind is OutcomeKind.SUCCEEDED
        left = int((attempts.directory / "left").read_text())
        try:
            assert await same_child_twice(nest, 0)
            assert alive(left)
        finally:
            os.kill(left, signal.SIGKILL)
            await until(lambda: gone(left, nest), what="the end of what was left")

    Nest(attempts).inside(story)


@pytest.mark.parametrize("python", ["process", "thread"])
def test_more_kinds_of_interpreters_at_once_than_there_are_templates_all_run(
    attempts: Attempts, python: str
) -> None:
    kinds = 2 * templates.MOST_TEMPLATES

    async def story(nest: Nest) -> None:
        async with asyncio.timeout(60):
            found = await asyncio.gather(
                *(
                    nest.result("value", n, env={"PYTHONPATH": str(attempts.directory / str(n))})
                    for n in range(kinds)
                )
            )

        assert found == [1] * kinds
        assert nest.templates <= templates.MOST_TEMPLATES

    Nest(attempts, slots=kinds, python=python).inside(story)


def test_run_that_waits_for_a_template_that_is_let_go_gets_another(
    attempts: Attempts, tmp_path: Path
) -> None:
    async def story(nest: Nest) -> None:
        gate = tmp_path / "gate"
        nest.write(
            f"import os, time\nopen('here', 'w').close()\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
            + MODULE
        )
        run = asyncio.ensure_future(nest.run("value"))
        await until((attempts.directory / "here").exists)
        assert nest.nursery.templates is not None
        nest.nursery.templates.replace()
        gate.touch()

        outcome = await asyncio.wait_for(run, 30)
        assert outcome.kind is OutcomeKind.SUCCEEDED, outcome.error

    Nest(attempts, preload=("jobs",)).inside(story)


def test_template_that_still_imports_does_not_hold_up_the_end_of_its_pool(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_host, "FORK_PATIENCE", 3600.0)

    async def story(nest: Nest) -> None:
        nest.write("import time\nopen('here', 'w').close()\ntime.sleep(3600)\n" + MODULE)
        run = asyncio.ensure_future(nest.run("value"))
        await until((attempts.directory / "here").exists)
        nest.slots[0].stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)
        assert (await run).kind is OutcomeKind.REVOKED

        await asyncio.wait_for(nest.nursery.close(), 30)

    Nest(attempts, preload=("jobs",)).inside(story)


def test_child_that_is_forked_after_its_run_was_stopped_leaves_no_zombie(
    attempts: Attempts,
) -> None:
    async def story(nest: Nest) -> None:
        await nest.result("value")
        template, before = nest.template(), own_children()
        os.kill(template, signal.SIGSTOP)
        run = asyncio.create_task(nest.run("value", slot=1))
        await until(lambda: waits_for_interpreter(nest.slots[1]), what="it waits")
        await asyncio.sleep(0)
        nest.slots[1].stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)
        assert (await asyncio.wait_for(run, 5)).kind is OutcomeKind.REVOKED
        os.kill(template, signal.SIGCONT)

        assert await nest.result("value", slot=1) == 1
        await until(lambda: len(own_children()) <= len(before) + 1, what="only one is left")
        assert template in own_children()

    Nest(attempts).inside(story)


@pytest.mark.parametrize("moment", ["at once", "later", "after its run"])
def test_slot_that_goes_keeps_no_interpreter(attempts: Attempts, moment: str) -> None:
    async def story(nest: Nest) -> None:
        python, before = nest.slots[1].python, own_children()
        seats = Seats(nest.slots, size=2)
        seats.take("first")
        assert seats.take("second") is nest.slots[1]
        await nest.result("born", 1)
        if moment != "at once":
            await until(lambda: python.children == 2, what="its successor")
        if moment != "after its run":
            seats.leave("second")
        seats.resize(1, lambda _: nest.slots[0])
        if moment == "after its run":
            assert python.children == 2
            seats.leave("second")

        assert python.children == 0
        await until(
            lambda: own_children() - before == {nest.template()}, what="only the template is left"
        )
        assert await nest.result("value", 0) == 1
        assert python.children == 0

    Nest(attempts, max_runs_per_child=100).inside(story)
