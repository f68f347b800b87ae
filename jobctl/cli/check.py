"""``check`` and ``init``: the configuration file."""

from __future__ import annotations

import os

from jobctl.cli.render import full_time
from jobctl.cli.table import columns
from jobctl.cli.values import counted
from jobctl.errors import ConfigError, ExitCode, JobctlError, NotPermittedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.cli.invocation import Invocation
    from jobctl.client.open import Session
    from jobctl.config.problem import Problem

FILE = "jobs.toml"


def check(call: Invocation, *, strict: bool, no_import: bool) -> int:
    """Show every problem, or what will run."""
    from dataclasses import replace

    from jobctl.client.open import Session
    from jobctl.config.hosts import host_problems
    from jobctl.config.paths import find_config
    from jobctl.config.problem import ERROR, WARNING
    from jobctl.config.targets import target_problems
    from jobctl.config.validate import check_config
    from jobctl.model.config import to_plain

    path = find_config(call.config)
    checked = check_config(path)
    problems = list(checked.problems)
    if checked.config is not None:
        # The file may be meant for another host, or another user: here they only warn.
        problems += [replace(item, severity=WARNING) for item in host_problems(checked.config)]
        if not no_import:
            problems += target_problems(checked)
    session = None if checked.config is None else Session(to_plain(checked.config))  # type: ignore[arg-type]
    if session is not None:
        problems += [*_address_problems(session, path), *_key_problems(session, path)]
    severe = (ERROR, WARNING) if strict else (ERROR,)
    bad = [item for item in problems if item.severity in severe]
    if call.console.json:
        _as_json(call, path, problems, session)
        return ExitCode.CONFIG if bad else ExitCode.OK
    _talk(call, problems)
    if bad:
        errors = sum(item.severity == ERROR for item in problems)
        warnings = sum(item.severity == WARNING for item in problems)
        rest = f" and {counted(warnings, 'warning')}" if warnings else ""
        call.console.report("config", f"{path}: {counted(errors, 'error')}{rest}")
        return ExitCode.CONFIG
    if session is not None:
        _show_jobs(call, session)
    return ExitCode.OK


def _address_problems(session: Session, path: str) -> list[Problem]:
    """Return what a connection would say of the store's URL, beyond its form."""
    from jobctl.config.paths import shown_path
    from jobctl.config.problem import Problem

    try:
        _ = session.address
    except ConfigError as error:
        message, _, remedy = str(error).partition("; ")
        return [
            Problem(
                file=shown_path(path), key="jobctl.redis", code="url",
                message=message.partition(": ")[2] or message, remedy=remedy,
            )
        ]  # fmt: skip
    return []


def _key_problems(session: Session, path: str) -> list[Problem]:
    """Return what is wrong with the key file here; the file may be meant for another host."""
    from jobctl.config.paths import shown_path
    from jobctl.config.problem import WARNING, Problem
    from jobctl.store import keyring

    settings, security = session.config.settings, session.config.security
    own = settings.redis is None and security.key_file == keyring.own_path(settings.state_dir)
    try:
        keyring.ring(security, namespace=settings.namespace)
    except JobctlError as error:
        if own and isinstance(error, keyring.NoKeysError):
            return []  # The daemon makes it.
        message, _, remedy = str(error).partition("; ")
        return [
            Problem(
                file=shown_path(path), key="security.key_file", code="key-file",
                message=message, remedy=remedy, severity=WARNING,
            )
        ]  # fmt: skip
    return []


def _talk(call: Invocation, problems: list[Problem]) -> None:
    from jobctl.config.problem import ERROR, format_problem

    for problem in problems:
        # Errors are said also to those who want no talk.
        text = format_problem(problem)
        if problem.severity == ERROR:
            call.console.complain(text)
        else:
            call.console.talk(text)


def _as_json(call: Invocation, path: str, problems: list[Problem], session: Session | None) -> None:
    from jobctl.config.problem import problem_to_plain

    call.console.document(
        {
            "path": path,
            "problems": [problem_to_plain(item) for item in problems],
            "jobs": [] if session is None else [
                {"job": name, "schedules": list(said), "next": when}
                for name, said, when in _jobs(session)
            ],
        }
    )  # fmt: skip


def _jobs(session: Session) -> list[tuple[str, list[str], str | None]]:
    """Return each job, its schedules in plain English, and its next instant."""
    from jobctl.client.schedules import Fire, entries

    now = session.clock.now()
    said: dict[str, list[str]] = {name: [] for name in session.job_names}
    fires: dict[str, Fire] = {}
    for entry in entries(session):
        name = entry.job.name
        said[name].append(entry.rule.explain())
        at = entry.next_after(now, anchor=now)
        if at is not None:
            fire = Fire(entry, at)
            if name not in fires or fire.start < fires[name].start:
                fires[name] = fire
    out: list[tuple[str, list[str], str | None]] = []
    for name, sentences in said.items():
        found = fires.get(name)
        out.append((name, sentences, None if found is None else full_time(found.start)))
    return out


def _show_jobs(call: Invocation, session: Session) -> None:
    rows = []
    for name, said, when in _jobs(session):
        job = session.job(name)
        silent = "Off" if not job.enabled else "Only when submitted"
        rows.append((name, when or "-", "; ".join(said) or silent))
    if rows:
        for line in columns(("JOB", "NEXT", "WHEN"), rows):
            call.console.data(line)
    config = session.config
    slots = sum(pool.slots for pool in config.pools.values())
    call.console.note(
        f"{session.path} is fine: {counted(len(rows), 'job')}, "
        f"{counted(slots, 'slot')} in {counted(len(config.pools), 'pool')}"
    )


def init(call: Invocation, *, force: bool) -> int:
    """Write a first jobs.toml into the working directory."""
    from jobctl.config.template import TEMPLATE

    path = os.path.abspath(call.config or FILE)  # noqa: PTH100 (texts)
    try:
        with open(path, "w" if force else "x", encoding="utf-8") as file:  # noqa: PTH123 (texts)
            file.write(TEMPLATE)
    except FileExistsError:
        raise JobctlError(f"{path} exists; --force replaces it") from None
    except OSError as error:
        raise NotPermittedError(f"{path} cannot be written: {error.strerror}") from error
    if call.console.json:
        call.console.document({"path": path})
        return ExitCode.OK
    call.console.data(path)
    call.console.talk(
        "Next:\n"
        "  jobctl check            what it says, in plain English\n"
        "  jobctl daemon           run it, here in the foreground\n"
        "  jobctl submit hello     ask for a run now, from another terminal"
    )
    return ExitCode.OK
