"""Slots of one pool whose Python attempts share their children, for tests."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

from real_attempts import Attempts, own_children

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.attempt import log_file
from jobctl.engine.nursery import Nursery
from jobctl.engine.slot import Slot
from jobctl.engine.workplace import Workplace
from jobctl.model.job import JobDef
from jobctl.model.pool import PoolDef
from jobctl.model.run import OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobctl.model.run import Outcome

MODULE = '''
import asyncio, logging, os, sys, threading, time
MET = threading.Barrier(2, timeout=10)
GONE = []

def pid(): return os.getpid()
async def apid(): return os.getpid()

def meet(text):
    print("before", text)
    MET.wait()
    logging.warning("during %s", text)
    sys.stderr.write("after " + text)
    MET.wait()
    return threading.get_ident()

EVENTS = {}

async def gather(number, of):
    """Return when all have come: each waits for the last."""
    event = EVENTS.setdefault("all", asyncio.Event())
    EVENTS["count"] = EVENTS.get("count", 0) + 1
    print("run", number)
    if EVENTS["count"] == of:
        event.set()
    await event.wait()
    print("done", number, end="")
    return number

async def nap():
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("cancelled")
        raise

async def dozes():
    try:
        await asyncio.sleep(60)
    except BaseException as error:
        print("got", type(error).__name__)
        await asyncio.sleep(0.01)
        print("tidied up")
        raise

async def aspin():
    spin()

def spin():
    try:
        while True:
            time.sleep(0.005)
    except BaseException as error:
        print("got", type(error).__name__)
        raise

class Dear:
    def __del__(self):
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            time.sleep(0.005)

def mourns():
    Dear()
    spin()

def deaf():
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            while time.monotonic() < end:
                time.sleep(0.005)
        except BaseException:
            pass

def bad(*_): raise SystemExit(0)
class Notes(Exception): __notes__ = property(bad)
class Trace(Exception): __traceback__ = property(bad)
class Class(Exception): __class__ = property(bad)
class Code(SystemExit): code = property(bad)
class Text: __str__ = bad
class Value: __class__ = property(bad)
def hostile(name):
    if name == "Value": return Value()
    if name == "Text": raise SystemExit(Text())
    raise globals()[name]
async def ahostile(name): return hostile(name)
def fails(): raise LookupError("nothing there")
async def afails(): raise LookupError("nothing there")
def dies(): os._exit(3)
def raw(): sys.stdout.buffer.write(b"raw\\n"); os.write(1, b"unseen\\n")
def steals(): sys.stdout = open(os.devnull, "w")
def says(text): print(text)
def out(): sys.exit(5)
def interrupted(): raise KeyboardInterrupt
async def ainterrupted(): raise KeyboardInterrupt
def init(): GONE.append(os.getpid())
async def ainit(): GONE.append(id(asyncio.get_running_loop()))
def inits(): return GONE
async def loop(): return id(asyncio.get_running_loop())
def environ(): return os.environ.get("SHOP"), os.getcwd()
'''


class Common:
    """Slots of one pool that share their children."""

    def __init__(self, attempts: Attempts, mode: str, **pool: Any) -> None:
        self.attempts = attempts
        self.pool = PoolDef(name="p", python=mode, **{"slots": 3, **pool})
        self.file = attempts.directory / "jobs.py"
        self.write(MODULE)

    def write(self, source: str) -> None:
        self.file.write_text(source)
        then = self.file.stat().st_mtime - 60
        os.utime(self.file, (then, then))

    def inside(self, scenario: Callable[[Common], Awaitable[None]]) -> None:
        async def whole() -> None:
            before = own_children()
            place = Workplace.open(dirs=self.attempts.dirs, clock=SYSTEM_CLOCK)
            self.place = place
            self.nursery = Nursery(self.pool, place)
            self.slots = [
                Slot(name=f"t.{n}", workplace=place, nursery=self.nursery)
                for n in range(self.pool.slots)
            ]
            try:
                async with asyncio.timeout(30):
                    await scenario(self)
            finally:
                for slot in self.slots:
                    await slot.close()
                await self.nursery.close()
                place.close()
                assert own_children() <= before

        asyncio.run(whole())

    async def run(self, function: str, *args: object, slot: int = 0, **more: Any) -> Outcome:
        job = JobDef(
            name="py", python=f"jobs:{function}", **{"cwd": str(self.attempts.directory), **more}
        )
        spec = self.attempts.specify(job, args=args, timeout=more.get("timeout"))
        outcome = await self.slots[slot].execute(spec)
        self.last = spec.run_id
        return outcome

    async def result(self, function: str, *args: object, slot: int = 0, **more: Any) -> Any:
        outcome = await self.run(function, *args, slot=slot, **more)
        assert outcome.kind is OutcomeKind.SUCCEEDED, outcome.error
        return json.loads(outcome.result or "null")

    def has_log(self, number: int) -> bool:
        """Return whether the run of that number has printed."""
        path = log_file(self.attempts.dirs.logs, "py", f"run{number:013d}", 1)
        return path.exists() and path.stat().st_size > 0

    def log(self, number: int) -> str:
        """Return what the run of that number printed, from 1."""
        return log_file(self.attempts.dirs.logs, "py", f"run{number:013d}", 1).read_text()
