"""What is to be done about a notice, and how: the plan, and the doing of each part."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import threading
from typing import TYPE_CHECKING, TypeVar

from jobctl.engine.attempt import log_file
from jobctl.engine.delivery import Delivery, DownError, RefusedError, UndeliveredError
from jobctl.engine.hooks import hook_run
from jobctl.errors import UsageError
from jobctl.model.notices import PAUSED, hooks_of, may_mail, ping_word
from jobctl.store import decisions, queries, shipping, transitions

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import EmailMessage
    from pathlib import Path

    from jobctl.clock import Clock
    from jobctl.engine.mailing import Route
    from jobctl.model.config import Config
    from jobctl.model.job import JobDef
    from jobctl.model.notices import Notice
    from jobctl.model.sealing import Seal
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

log = logging.getLogger(__name__)

T = TypeVar("T")

PING_FOR = 3600.0
"""Seconds for which a call is tried; later it would only confuse whoever watches."""
MAIL_FOR = 86_400.0
HOOK_FOR = 86_400.0
HANGS = 120.0
"""Seconds after which a thread that talks to a server is not waited for any more."""


class Deliveries:
    """Plans deliveries. Mails and calls are made in threads, runs of hooks by the store.

    ``schedules`` returns the names of a job's schedules, also of those that are not in jobs.toml.
    """

    def __init__(
        self,
        store: AsyncStore,
        keys: Keys,
        *,
        host: str,
        timezone: str,
        state_dir: Path,
        schedules: Callable[[str], list[str]],
        seal: Seal,
        clock: Clock,
    ) -> None:
        self._store = store
        self._keys = keys
        self._host = host
        self._timezone = timezone
        self._logs = state_dir / "logs"
        self._schedules = schedules
        self._seal = seal
        self._clock = clock
        self._config: Config | None = None
        self._limits: object = None
        self.children: set[int] = set()
        """Processes that threads wait for."""

    def configure(self, config: Config) -> None:
        """Use a configuration for what is planned from now on."""
        self._config = config

    def plan(self, notice: Notice, job: JobDef) -> list[Delivery]:
        """Return everything to do about a notice."""
        config = self._config
        assert config is not None  # noqa: S101 - the postman has one before it has a notice
        made = [self._hook(notice, name, config) for name in hooks_of(notice, job)]
        if notice.event == PAUSED:
            made.append(self._pause(notice, job))
        word = ping_word(notice)
        if job.ping_url is not None and word is not None:
            made.append(self._ping(notice, job.ping_url, word))
        if may_mail(notice, job):
            made.append(_Mail(self, notice, job, config).delivery())
        return made

    # Hooks

    def _hook(self, notice: Notice, name: str, config: Config) -> Delivery:
        async def submit() -> None:
            hook = config.jobs.get(name)
            if hook is None:
                raise RefusedError(f"there is no job {name} in jobs.toml of {self._host}")
            try:
                run = hook_run(notice, hook, config=config, host=self._host)
            except UsageError as error:
                raise RefusedError(f"{error}; a hook gets its own args and kwargs only") from None
            (answer,) = await self._store.run(
                transitions.submit(self._keys, [run], seal=self._seal)
            )
            if answer.kind == "full":
                raise UndeliveredError(f"queue {hook.queue} is full")

        return Delivery(
            what=f"hook {name} for run {notice.run} of {notice.job}",
            key=(f"hook {name}", notice.run),
            place="",
            most=HOOK_FOR,
            do=submit,
        )

    # Pauses

    def _pause(self, notice: Notice, job: JobDef) -> Delivery:
        async def switch() -> None:
            names = dict.fromkeys(
                (*(one.name for one in job.schedules), *self._schedules(job.name))
            )
            if not names:
                return
            who = f"pause_after_failures@{self._host}"
            changed = await self._store.run(
                decisions.switch(self._keys, list(names), what="off", who=who)
            )
            if any(changed):
                log.warning(
                    "%s: failed %d times in a row, so its schedules are switched off; when it is "
                    "mended: jobctl schedule enable %s", job.name, notice.failures, job.name,
                )  # fmt: skip

        return Delivery(
            what=f"pause of {job.name}",
            key=("pause", notice.run),
            place="",
            most=HOOK_FOR,
            do=switch,
        )

    # Calls

    def _ping(self, notice: Notice, url: str, word: str) -> Delivery:
        # Loaded where something is called: few daemons do.
        from jobctl.engine import pinging  # noqa: PLC0415

        limits = self._limits = self._limits or pinging.Limits()
        assert isinstance(limits, pinging.Limits)  # noqa: S101 - set here only
        place = pinging.place_of(url)

        async def call() -> None:
            output = b"" if word == "/start" else (await self.output(notice, pinging.BODY_MOST))[0]
            whole = pinging.ping_url(url, word, notice.run)
            await in_thread(lambda: pinging.ping(whole, output, limits))

        return Delivery(
            what=f"call {word or '/'} of ping_url for run {notice.run} of {notice.job}",
            key=("ping", notice.run),
            place=place,
            most=PING_FOR,
            do=call,
        )

    # Output

    async def output(self, notice: Notice, most: int) -> tuple[bytes, int]:
        """Return the end of an attempt's output, and how many bytes all of it has."""
        if not notice.attempt:
            return b"", 0
        path = log_file(self._logs, notice.job, notice.run, notice.attempt)
        found = await in_thread(lambda: _tail(path, most))
        if found is not None:
            return found
        assert self._config is not None  # noqa: S101 - as above
        if self._config.settings.redis is None:
            return b"", 0
        pieces = [
            piece
            for piece in await self._store.run(shipping.shipped(self._keys, notice.run))
            if piece.attempt == notice.attempt
        ]
        whole = b"".join(piece.data for piece in pieces)
        return whole[-most:], pieces[-1].end if pieces else 0


class _Mail:
    """One mail: written when it is first tried, then the same until everybody has it."""

    def __init__(self, deliveries: Deliveries, notice: Notice, job: JobDef, config: Config) -> None:
        self._deliveries = deliveries
        self._notice = notice
        self._job = job
        self._config = config
        self._to = list(job.mail_to)
        self._message: EmailMessage | None = None

    def delivery(self) -> Delivery:
        notice = self._notice
        mail = self._config.mail
        return Delivery(
            what=f"mail to {', '.join(self._to)} about {_about(notice)}",
            key=("mail", notice.run or notice.job),
            place=mail.smtp or mail.sendmail or "mail",
            most=MAIL_FOR,
            do=self._send,
        )

    async def _send(self) -> None:
        from jobctl.engine import mailing  # noqa: PLC0415 (few daemons mail)

        sender = self._config.mail.sender or f"{_user()}@{os.uname().nodename}"
        if self._message is None:
            self._message = await self._write(sender)
        message = self._message
        if message is None:
            return
        way = await in_thread(lambda: mailing.route(self._config.mail))
        if way.program:
            await self._through_program(way, message)
            return
        self._to = await in_thread(
            lambda: mailing.send_to_server(way, message, sender=sender, to=self._to)
        )
        if self._to:
            raise UndeliveredError(f"{way.place} takes no mail now for {', '.join(self._to)}")

    async def _through_program(self, way: Route, message: EmailMessage) -> None:
        from jobctl.engine import mailing  # noqa: PLC0415 (same)

        process = mailing.start_program(way, sender=self._config.mail.sender, to=self._to)
        children = self._deliveries.children
        # Nothing is awaited in between: else whoever collects orphans takes its exit code.
        children.add(process.pid)
        try:
            await in_thread(lambda: mailing.feed_program(way, process, message))
        finally:
            children.discard(process.pid)

    async def _write(self, sender: str) -> EmailMessage | None:
        """Return the mail, ``None`` when nothing was printed of which nobody wants to know then."""
        from jobctl.engine import mail_text  # noqa: PLC0415 (same)

        notice, job, here = self._notice, self._job, self._deliveries
        output, size = await here.output(notice, mail_text.ATTACHED_MOST)
        wants_output = job.mail_on == "output" and notice.event in ("k", "v")
        if wants_output and not output:
            return None
        run = None
        if notice.run:
            run = await here._store.run(queries.run_or_broken(here._keys, notice.run))  # noqa: SLF001 - a part of it
        from zoneinfo import ZoneInfo  # noqa: PLC0415 - 0.5 MB that only mails need

        facts = mail_text.Facts(
            job=job,
            host=here._host,  # noqa: SLF001
            zone=ZoneInfo(job.timezone or here._timezone),  # noqa: SLF001
            run=run,
            output=output,
            size=size,
            namespace=self._config.settings.namespace,
        )
        return mail_text.mail(notice, facts, sender=sender, now=here._clock.epoch())  # noqa: SLF001


def _tail(path: Path, most: int) -> tuple[bytes, int] | None:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - most))
            return file.read(most), size
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s cannot be read: %s", path, error.strerror)
        return None


def _about(notice: Notice) -> str:
    return f"run {notice.run} of {notice.job}" if notice.run else f"an instant of {notice.job}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


async def in_thread(work: Callable[[], T]) -> T:
    """Do something that blocks, in a thread that nobody waits for at the end of the process.

    Raises :class:`DownError` when it does not come back.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # what work returned

    def main() -> None:
        result, failed = None, None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - handed on
            failed = error
        try:
            loop.call_soon_threadsafe(settle, result, failed)
        except RuntimeError:
            # The loop has ended meanwhile, and with it whoever waited.
            return

    threading.Thread(target=main, name="jobctl-delivery", daemon=True).start()
    try:
        async with asyncio.timeout(HANGS):
            return await future
    except TimeoutError:
        raise DownError(f"no end within {HANGS:g} s") from None
