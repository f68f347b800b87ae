"""Answers what running functions ask of the store: ``once`` and ``submit``.

The code of jobs never speaks to the store itself. Its questions come over a line of their own from
each child, JSON objects one a line, and are answered for the runs that the child really runs, and
with what those may do: a run of another user than the daemon's submits only jobs of its own user.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from jobctl.errors import JobctlError
from jobctl.model.admission import NewRun, admission_for, unique_digest
from jobctl.model.ids import derived_id, is_id, new_id
from jobctl.model.params import bind
from jobctl.model.run import Parent, Request, RunState
from jobctl.store import queries, transitions
from jobctl.store.codec import check_depth, encode_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.ledger import Ledger
    from jobctl.engine.python_host import PythonChild
    from jobctl.model.config import Config
    from jobctl.model.job import JobDef
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keyring import Signing
    from jobctl.store.keys import Keys

TRIGGER = "job"
QUESTION_MOST = 16 * 1024 * 1024
"""Bytes of a question; a child that sends more without an end is not listened to any more."""
STEPS = ("first", "begin", "finish", "leave")
KEY_MOST = 200
"""Bytes of a key of ``once``; characters of an id, a queue or a tag."""
TTL_MOST = 400 * 86400.0
"""Seconds; what is remembered longer belongs into a database."""
OPTIONS = ("in", "expires", "id", "queue", "priority", "tags")

log = logging.getLogger(__name__)


class RefusedError(JobctlError):
    """Raised when a question gets no for an answer; the message is for the author of the job."""


class Desk:
    """Answers for the runs of one pool."""

    def __init__(
        self,
        store: AsyncStore,
        keys: Keys,
        *,
        owner: str,
        host: str,
        ledger: Ledger,
        config: Callable[[], Config],
        signing: Signing,
    ) -> None:
        self._store = store
        self._keys = keys
        self._owner = owner
        self._host = host
        self._ledger = ledger
        self._config = config
        self._signing = signing

    async def answer(self, spec: AttemptSpec, question: Mapping[str, Any]) -> dict[str, object]:
        """Return the answer to a question of an attempt; ``{"error": …}`` says why there is none."""
        try:
            if question.get("ask") == "once":
                return {"yes": await self._once(spec, question)}
            if question.get("ask") == "submit":
                return {"id": await self._submit(spec, question)}
            raise RefusedError("this daemon does not know that question; restart it to upgrade it")
        except JobctlError as error:
            return {"error": str(error)}
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            return {"error": f"the question cannot be understood ({error!r})"}

    async def _once(self, spec: AttemptSpec, question: Mapping[str, Any]) -> bool:
        held = self._ledger.running.get(spec.run_id)
        step, key = str(question["step"]), str(question["key"])
        if held is None or step not in STEPS or not 0 < len(key.encode()) <= KEY_MOST:
            raise RefusedError("the run has ended, or its key of once is not 1 to 200 bytes")
        ttl = checked_ttl(question["ttl"])
        answer = await self._store.run(
            transitions.once(
                self._keys, owner=self._owner, run_id=spec.run_id, epoch=held.claim.epoch,
                job=spec.job.name, key=key, step=step, token=os.urandom(8).hex(), ttl=ttl,
            )
        )  # fmt: skip
        if answer < 0:
            raise RefusedError("another host has taken this run over; this attempt is to end")
        return answer > 0

    async def _submit(self, spec: AttemptSpec, question: Mapping[str, Any]) -> str:
        config = self._config()
        job = config.jobs.get(str(question["job"]))
        if job is None:
            raise RefusedError(f"there is no job {question['job']!r} in jobs.toml of {self._host}")
        _check_rights(spec.job, job)
        run = self._new_run(spec, job, question, config)
        await self._require_queue(run.request.queue, job, config)
        (answer,) = await self._store.run(
            transitions.submit(self._keys, [run], seal=self._signing.seal)
        )
        if answer.kind == "full":
            raise RefusedError(f"queue {run.request.queue} is full; submit again later")
        if answer.kind == "other":
            raise RefusedError(
                f"the id {run.request.id} is that of a run of job {answer.detail}, not of {job.name};"
                " leave out _id or give it another one"
            )
        if answer.kind == "skip":
            raise RefusedError(
                f"job {job.name} has a run that has not ended ({answer.detail}), and its overlap"
                " policy skips another"
            )
        return answer.detail if answer.kind == "unique" else run.request.id

    async def _require_queue(self, queue: str, job: JobDef, config: Config) -> None:
        """Refuse a queue that jobs.toml does not have, and from which no pool takes."""
        if queue == job.queue or queue in queue_names(config):
            return
        ids = await self._store.run(queries.supervisors(self._keys))
        calls = [queries.supervisor(self._keys, one) for one in ids]
        for facts in await self._store.run_many(calls) if calls else ():
            if queue in served_queues(facts):
                return
        raise RefusedError(
            f"there is no queue {queue!r:.60} in jobs.toml of {self._host}, and no pool takes from it"
        )

    def _new_run(
        self, spec: AttemptSpec, job: JobDef, question: Mapping[str, Any], config: Config
    ) -> NewRun:
        options = submit_options(question["with"])
        args, kwargs = bind(job, question["args"], question["kwargs"], text=False)
        queue = str(options.get("queue") or job.queue)
        key, retries = options.get("id"), job.retry.retries
        namespace = config.settings.namespace
        request = Request(
            id=new_id()
            if key is None
            else key
            if is_id(key)
            else derived_id(namespace, job.name, key),
            job=job.name,
            args=args,
            kwargs=kwargs,
            tags={**job.tags, **options.get("tags", {})},
            queue=queue,
            priority=options.get("priority", job.priority),
            max_attempts=retries + 1 if retries >= 0 else -1,
            trigger=TRIGGER,
            submitter=f"{spec.job.name}@{self._host}",
            parent=Parent(
                run=spec.run_id,
                job=spec.job.name,
                state=RunState.RUNNING.value,
                attempt=spec.number,
            ),
        )
        check_depth((args, kwargs))
        _check_texts((args, kwargs, request.tags))
        size, most = len(encode_envelope(request).encode()), config.settings.max_args
        if size > most:
            raise RefusedError(
                f"the arguments take {size} bytes, the limit is {most}; put the data in a file"
                " and pass its name, or raise max_args in [jobctl]"
            )
        return NewRun(
            request=request,
            admission=admission_for(job, queue=config.queues.get(queue)),
            start_in=options.get("in"),
            expires_in=options.get("expires", job.expires),
            unique=unique_digest(job, args, kwargs) if job.unique else "",
            keep_id=0.0 if key is None else job.keep_ids,
        )


def checked_ttl(value: Any) -> float:  # noqa: ANN401 - as a child sends it
    """Return how long a key of ``once`` is to be remembered, in seconds."""
    ttl = float(value)
    if not 0 < ttl <= TTL_MOST:
        raise RefusedError(f"ttl = {ttl:g} s is not between 0 and 400 days")
    return ttl


def queue_names(config: Config) -> set[str]:
    """Return the queues that jobs.toml has: by themselves, of pools, of jobs and of schedules."""
    jobs = config.jobs.values()
    named = {queue for pool in config.pools.values() for queue in pool.queues} - {"*"}
    named |= {item.queue for job in jobs for item in job.schedules if item.queue}
    return {"default", *config.queues, *(job.queue for job in jobs)} | named


def served_queues(facts: Mapping[str, str]) -> set[str]:
    """Return the queues from which the pools of a supervisor take, as it says itself."""
    try:
        pools = json.loads(facts.get("pools", "{}"))
        return {queue for pool in pools.values() for queue in pool["queues"]}
    except (ValueError, TypeError, KeyError, AttributeError):
        return set()


def _check_rights(asking: JobDef, job: JobDef) -> None:
    """Refuse to run as somebody else: whoever changed user must not get back that way."""
    if (asking.user or asking.group) and (asking.user, asking.group) != (job.user, job.group):
        raise RefusedError(
            f"job {asking.name} runs as another user than job {job.name}; only jobs of the daemon's"
            " own user may submit jobs of others"
        )


def submit_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a submit that were given, checked."""
    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if name not in OPTIONS:
            known = ", ".join("_" + option for option in OPTIONS)
            raise RefusedError(f"there is no option _{name}; the options are {known}")
    priority = options.get("priority", 0)
    if type(priority) is not int or priority not in range(10):  # 5.0 would be a name of its own
        raise RefusedError(f"_priority={priority!r} is not one of 0 to 9 (9 runs first)")
    tags = options.get("tags", {})
    if not isinstance(tags, dict):
        raise RefusedError(f"_tags={tags!r} is not a dict of texts")
    words = [*tags, *(options[name] for name in ("id", "queue") if name in options)]
    for word in (*words, *tags.values()):
        if not isinstance(word, str) or len(word) > KEY_MOST or not (word or word not in words):
            raise RefusedError(f"{word!r:.60} is not a text of 1 to {KEY_MOST} characters")
        if word in words and not word.isprintable():
            raise RefusedError(f"{word!r:.60} has characters that cannot be printed")
        if "\0" in word:
            raise RefusedError(f"_tags: {word!r:.60} holds a NUL character")
    return options


def _check_texts(values: tuple[object, ...]) -> None:
    """Refuse bytes that are no text: the envelope could carry them, and no process be given them."""
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise RefusedError(
            "an argument or tag has bytes that are no text; only UTF-8 can be passed, so put other"
            " data in a file and pass its name"
        ) from error


class Line(asyncio.Protocol):
    """The pool's end of a child's line.

    ``running`` returns the attempt that the child runs under an id, if it does.
    """

    def __init__(self, desk: Desk, running: Callable[[str], AttemptSpec | None]) -> None:
        self._desk = desk
        self._running = running
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def open(
        cls, child: PythonChild, desk: Desk, running: Callable[[str], AttemptSpec | None]
    ) -> None:
        """Give a child its line. It ends with the child. Raises ``OSError``."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            child.give_line(theirs.fileno())
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        line = cls(desk, running)
        line._begin(asyncio.get_running_loop().create_connection(lambda: line, sock=ours))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream socket has one
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer the whole questions received so far."""
        self._received += data
        *lines, rest = self._received.split(b"\n") if b"\n" in data else (self._received,)
        self._received = bytearray(rest)
        if len(rest) > QUESTION_MOST and self._transport is not None:
            self._transport.abort()
        for line in filter(None, lines):  # an empty one ends what was cut off
            self._begin(self._answer(bytes(line)))

    def _begin(self, work: Any) -> None:  # noqa: ANN401 - any coroutine
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, line: bytes) -> None:
        try:
            question = json.loads(line)
            number, spec = question["n"], self._running(str(question["run"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            log.warning("a job wrote something else than a question to its line; it is ignored")
            return
        if spec is None:
            answer: dict[str, object] = {"error": "that run does not run here"}
        else:
            answer = await self._desk.answer(spec, question)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(json.dumps({**answer, "n": number}).encode() + b"\n")
