"""Whether the Python functions that jobs.toml names are there, and take what their runs will pass.

Their modules are imported by a process of their own, as the job's user, in its interpreter,
directory and environment; only ``jobctl check`` asks. The file may be meant for another host, so
whatever is wrong here is a warning. Functions that declare themselves with ``@job`` are not looked
at: their parameters are those of their signatures already. What their pools import and call is; see
:mod:`jobctl.config.hooks`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobctl.clock import SYSTEM_CLOCK
from jobctl.config.asking import NoAnswerError, Surroundings
from jobctl.config.build import param
from jobctl.config.env_file import EnvFileError, read_env_file
from jobctl.config.exception_names import Named, exception_names
from jobctl.config.hooks import Hook, Serving, Verdicts, hooks_of, may_need_init, unjudged
from jobctl.config.hosts import problem_of
from jobctl.config.interview import Interview, TooLongError
from jobctl.config.problem import NOTE, WARNING
from jobctl.config.schema import ParamTable
from jobctl.errors import UsageError
from jobctl.model.job import JobDef
from jobctl.model.params import bind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.config.problem import Problem
    from jobctl.config.validate import Checked
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


@dataclass(slots=True)
class _Group:
    """What is asked in one place."""

    place: Surroundings
    first: JobDef
    """A job that runs there."""
    jobs: list[JobDef] = field(default_factory=list)
    """Those whose functions are looked at."""
    pools: dict[str, tuple[PoolDef, JobDef]] = field(default_factory=dict)
    """Those whose hooks are, by name, each with a job of it."""
    names: dict[tuple[str, str], Named] = field(default_factory=dict)
    """By key and name: exceptions that jobs name."""


def target_problems(checked: Checked) -> list[Problem]:
    """Return what is wrong with functions of jobs that this host can run, and with hooks of pools.

    All that is wrong is a warning; what cannot be judged is a note.
    """
    config = checked.require()
    serving = Serving(config.pools.values())
    found: list[Problem] = []
    verdicts = Verdicts(checked.pools)
    groups = _groups(config, serving, defaults=checked.defaults)
    begun = SYSTEM_CLOCK.monotonic()
    for number, group in enumerate(groups):
        if number == MOST or SYSTEM_CLOCK.monotonic() - begun > LONGEST:
            found.append(_too_many(group.first, len(groups) - number))
            break
        found += _ask(group, _Judge(config, serving, verdicts), begun=begun)
    return [*found, *verdicts.problems()]


def _groups(config: Config, serving: Serving, *, defaults: JobDef | None) -> list[_Group]:
    """Return the places where there is something to look at."""
    groups: dict[str, _Group] = {}
    jobs = [job for job in config.jobs.values() if job.python is not None and job.enabled]
    for job in jobs:
        pools = serving.pools(job)
        names = list(exception_names(job))
        place = _surroundings(job) if _of_toml(job) or pools or names else None
        if place is None:
            continue
        group = groups.setdefault(place.key, _Group(place, job))
        if _of_toml(job):
            group.jobs.append(job)
        for pool in pools:
            group.pools.setdefault(pool.name, (pool, job))
        for key, name in names:
            group.names.setdefault((key, name), Named(key, name)).jobs.append(job)
    # Jobs of other queues may be submitted to those of pools that have none of their own.
    like = jobs[0] if jobs else defaults
    place = None if like is None else _surroundings(like)
    if place is not None and like is not None:
        for pool in serving.without(jobs):
            group = groups.setdefault(place.key, _Group(place, like))
            group.pools.setdefault(pool.name, (pool, like))
    return list(groups.values())


def _of_toml(job: JobDef) -> bool:
    return not job.source.rpartition(":")[0].endswith(".py")


def _surroundings(job: JobDef) -> Surroundings | None:
    """Return where the function of a job is imported, ``None`` where that cannot be done from here."""
    try:
        return _place(job)
    except (NoAnswerError, EnvFileError, RuntimeError):
        return None  # What is missing is told of where this host is looked at.


def _place(job: JobDef) -> Surroundings | None:
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


def _ask(group: _Group, judge: _Judge, *, begun: float) -> Iterator[Problem]:
    # Hooks come first, as in an interpreter: the import of one may be what others need.
    hooks = hooks_of(group.pools.values())
    asked: list[Hook | JobDef | Named] = [*hooks, *group.jobs, *group.names.values()]
    left = dict(enumerate(asked))
    items = [_item(one) if isinstance(one, JobDef) else one.item for one in asked]
    interview = Interview(
        group.place, items, patience=PATIENCE, seconds=LONGEST, begun=begun, provide=True
    )
    try:
        for number, answer in interview.answers():
            yield from judge.hear(left.pop(number), answer)
    except NoAnswerError as error:
        jobs = [one for one in left.values() if isinstance(one, JobDef)]
        yield _unanswered(jobs or [group.first], error)


def _item(job: JobDef) -> dict[str, object]:
    """Return what the child is asked of a job."""
    calls = [[len(args), list(kwargs)] for args, kwargs, _ in _calls(job)]
    return {"kind": "target", "target": job.python, "calls": calls}


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
        always = [one for one in job.params if one.required or one.default is not None]
        for passed, what in (
            (job.params, "all that params declares"),
            (always, "no more than params requires"),
        ):
            named: dict[str, object] = {one.name: None for one in passed if not one.positional}
            yield (None,) * (len(passed) - len(named)), named, what
    for schedule in job.schedules:
        yield schedule.args, dict(schedule.kwargs), f"what schedule {schedule.name} passes"


class _Judge:
    """Makes problems of what children say."""

    def __init__(self, config: Config, serving: Serving, verdicts: Verdicts) -> None:
        self._config = config
        self._serving = serving
        self._verdicts = verdicts

    def hear(self, one: Hook | JobDef | Named, answer: dict[str, Any]) -> Iterator[Problem]:
        """Yield what is wrong with the function of a job or what it names, or note it of a hook."""
        if isinstance(one, JobDef):
            yield from self._target(one, answer)
        elif isinstance(one, Named):
            if "wrong" in answer:
                yield one.problem(answer, self._serving)
        else:
            self._verdicts.take(one, answer, remedy=self._moved(one.job, one.value, answer))

    def _moved(self, job: JobDef, name: str, answer: dict[str, Any]) -> str:
        """Return the remedy where a module was looked for in the wrong directory."""
        if answer.get("imported", True) or job.cwd is not None:
            return ""
        if not _lies_beside(name, self._config):
            return ""
        return (
            'its file lies beside jobs.toml, and jobs begin in the home directory: write cwd = "."'
            " in the job or in [defaults]"
        )

    def _target(self, job: JobDef, answer: dict[str, Any]) -> Iterator[Problem]:
        if "wrong" in answer:
            yield self._wrong(job, answer)
            return
        said = set()
        for (args, kwargs, what), misfit in zip(_calls(job), answer["calls"], strict=True):
            wrong = misfit or _wrong_types(job, args, kwargs, answer["params"])
            if wrong and wrong not in said:
                said.add(wrong)
                yield _problem(
                    job, f"{job.python} does not take {what}: {wrong}",
                    remedy="mend params, args or kwargs, or the function",
                )  # fmt: skip

    def _wrong(self, job: JobDef, answer: dict[str, Any]) -> Problem:
        pool = self._serving.init_of(job)
        if pool is not None and may_need_init(answer):
            return problem_of(
                job, "python", code="unjudged", severity=NOTE,
                message=answer["wrong"], remedy=unjudged(pool, answer),
            )  # fmt: skip
        usual = answer.get("remedy", "runs of this job on this host will fail until it is mended")
        remedy = self._moved(job, str(job.python), answer) or usual
        return _problem(job, answer["wrong"], remedy=remedy)


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
