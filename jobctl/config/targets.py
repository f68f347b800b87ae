"""Whether the Python functions that jobs.toml names are there, and take what their runs will pass.

Their modules are imported by a process of their own, as the job's user, in its interpreter,
directory and environment; only ``jobctl check`` asks. The file may be meant for another host, so
whatever is wrong here is a warning. Functions that declare themselves with ``@job`` are not looked
at: their parameters are those of their signatures already.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from jobctl.clock import SYSTEM_CLOCK
from jobctl.config.asking import NoAnswerError, Surroundings
from jobctl.config.build import param
from jobctl.config.env_file import EnvFileError, read_env_file
from jobctl.config.hosts import problem_of
from jobctl.config.interview import Interview, TooLongError
from jobctl.config.problem import WARNING
from jobctl.config.schema import ParamTable
from jobctl.errors import UsageError
from jobctl.model.job import JobDef
from jobctl.model.params import bind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.config.problem import Problem
    from jobctl.model.config import Config
    from jobctl.model.pool import PoolDef

PATIENCE = 15.0
"""Seconds that importing one module may take."""
MOST = 20
"""Processes that are started: one for each interpreter, directory, environment and user."""
LONGEST = 60.0
"""Seconds for all of them together."""

Call = tuple[tuple[object, ...], dict[str, object], str]
"""Arguments in order, others by name, and what passes them."""


def target_problems(config: Config) -> list[Problem]:
    """Return what is wrong with the functions of jobs that this host can run, all of them warnings."""
    groups: dict[str, tuple[Surroundings, list[JobDef]]] = {}
    found: list[Problem] = []
    for job in config.jobs.values():
        if job.python is None or not job.enabled or not _of_toml(job):
            continue
        try:
            place = _surroundings(job)
        except (NoAnswerError, EnvFileError, RuntimeError):
            continue  # What is missing is told of where this host is looked at.
        if place is not None:
            groups.setdefault(place.key, (place, []))[1].append(job)
    prepared = {
        queue
        for pool in config.pools.values()
        if pool.child_init
        for queue in _served(pool, config)
    }
    until = SYSTEM_CLOCK.monotonic() + LONGEST
    for number, (place, jobs) in enumerate(groups.values()):
        seconds = until - SYSTEM_CLOCK.monotonic()
        if number == MOST or seconds <= 0:
            found.append(_too_many(jobs[0], len(groups) - number))
            break
        found += _ask(place, jobs, prepared, config, seconds=seconds)
    return found


def _served(pool: PoolDef, config: Config) -> set[str]:
    every = "*" in pool.queues
    return {job.queue for job in config.jobs.values()} if every else set(pool.queues)


def _of_toml(job: JobDef) -> bool:
    return not job.source.rpartition(":")[0].endswith(".py")


def _surroundings(job: JobDef) -> Surroundings | None:
    """Return where the function of a job is imported, ``None`` where that cannot be done from here."""
    own = os.path.expanduser("~")  # noqa: PTH111 (texts)
    home = own if job.user is None else os.path.expanduser(f"~{job.user}")  # noqa: PTH111 (same)
    if job.user is not None and os.geteuid() != 0 and home != own:
        return None
    cwd = home if job.cwd is None else os.path.expanduser(job.cwd)  # noqa: PTH111 (same)
    if not os.path.isdir(cwd):  # noqa: PTH112 (same)
        return None
    python = None if job.interpreter is None else os.path.expanduser(job.interpreter)  # noqa: PTH111 (same)
    environment: dict[str, str] = {}
    for name in job.env_file:
        environment |= read_env_file(os.path.expanduser(name))  # noqa: PTH111 (same)
    return Surroundings(python, cwd, environment | job.env, user=job.user)


def _ask(
    place: Surroundings,
    jobs: list[JobDef],
    prepared: set[str],
    config: Config,
    *,
    seconds: float,
) -> Iterator[Problem]:
    calls = [list(_calls(job)) for job in jobs]
    items = [
        {
            "kind": "target", "target": job.python,
            "calls": [[len(args), list(kwargs)] for args, kwargs, _ in own],
        }
        for job, own in zip(jobs, calls, strict=True)
    ]  # fmt: skip
    left = dict(enumerate(jobs))
    interview = Interview(place, items, patience=PATIENCE, seconds=seconds, provide=True)
    try:
        for number, answer in interview.answers():
            job = left.pop(number)
            beside = job.cwd is None and _lies_beside(str(job.python), config)
            yield from _judge(
                job, calls[number], answer, prepared=job.queue in prepared, beside=beside
            )
    except NoAnswerError as error:
        yield _unanswered(list(left.values()), error)


def _unanswered(jobs: list[JobDef], error: NoAnswerError) -> Problem:
    message, remedy = error.args
    if not isinstance(error, TooLongError):
        remedy = "its runs on this host would fail likewise"
    if len(jobs) > 1:
        message += f"; the functions of {len(jobs)} jobs were not looked at"
    return _problem(jobs[0], message, remedy=remedy)


def _lies_beside(target: str, config: Config) -> bool:
    """Return whether a module or package of that name is in the directory of the main file."""
    name = target.partition(":")[0].partition(".")[0]
    base = os.path.join(os.path.dirname(config.path), name)  # noqa: PTH118, PTH120 (texts)
    return any(os.path.exists(base + end) for end in (".py", "/__init__.py"))  # noqa: PTH110 (same)


def _calls(job: JobDef) -> Iterator[Call]:
    """Yield what runs of a job may pass: the least, the most, and what each of its schedules says."""
    if job.params:
        always = [one.name for one in job.params if one.required or one.default is not None]
        yield (), dict.fromkeys(one.name for one in job.params), "all that params declares"
        yield (), dict.fromkeys(always), "no more than params requires"
    for schedule in job.schedules:
        yield schedule.args, dict(schedule.kwargs), f"what schedule {schedule.name} passes"


def _judge(
    job: JobDef, calls: list[Call], answer: dict[str, Any], *, prepared: bool, beside: bool
) -> Iterator[Problem]:
    if not answer.get("imported", True) and prepared:
        # It may be importable only after what the pool calls before.
        return
    if "wrong" in answer:
        remedy = answer.get("remedy", "runs of this job on this host will fail until it is mended")
        if beside and not answer.get("imported", True):
            remedy = (
                'its file lies beside jobs.toml, and jobs begin in the home directory: write cwd = "."'
                " in the job or in [defaults]"
            )
        yield _problem(job, answer["wrong"], remedy=remedy)
        return
    said = set()
    for (args, kwargs, what), misfit in zip(calls, answer["calls"], strict=True):
        wrong = misfit or _wrong_types(job, args, kwargs, answer["params"])
        if wrong and wrong not in said:
            said.add(wrong)
            yield _problem(
                job, f"{job.python} does not take {what}: {wrong}",
                remedy="mend params, args or kwargs, or the function",
            )  # fmt: skip


def _wrong_types(
    job: JobDef, args: tuple[object, ...], kwargs: dict[str, object], params: dict[str, Any] | None
) -> str:
    """Return what of these values does not fit the annotations of a function without ``params``."""
    if job.params or params is None:
        return ""
    # Secret, so that no value is repeated in a message.
    tables = {name: ParamTable(**table, secret=True) for name, table in params.items()}
    specs = tuple(param(name, table) for name, table in tables.items())
    try:
        bind(JobDef(name=job.name, python=job.python, params=specs), args, kwargs, text=False)
    except UsageError as error:
        return str(error).removeprefix(f"job {job.name}: ").replace("\n ", "")
    return ""


def _problem(job: JobDef, message: str, *, remedy: str) -> Problem:
    return problem_of(
        job, "python", code="target", severity=WARNING, message=message, remedy=remedy
    )


def _too_many(job: JobDef, count: int) -> Problem:
    return _problem(
        job, f"the functions of {count} more environments were not looked at",
        remedy=f"give Python jobs the same interpreter, cwd, env and user: {MOST} are tried, "
        f"for {LONGEST:g} s",
    )  # fmt: skip
