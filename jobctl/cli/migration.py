"""``import`` and ``export``: coming from cron and its kin, and going back."""

from __future__ import annotations

import os
from dataclasses import asdict

from jobctl.cli.values import counted
from jobctl.errors import ExitCode, JobctlError, NotPermittedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.cli.invocation import Invocation
    from jobctl.client.migrate.draft import Findings

SOURCES = ("crontab", "systemd-timers", "celery-beat")
TARGETS = ("crontab", "systemd")


def import_(  # noqa: PLR0913 (one per option)
    call: Invocation,
    *,
    source: str,
    files: list[str],
    system: bool,
    user: bool,
    anacron: bool,
    owner: str | None,
    native: bool,
    expand_run_parts: bool,
    interpreter: str | None,
    output: str | None,
    force: bool,
) -> int:
    """Write what another scheduler would run as a jobs.toml."""
    from jobctl.client.migrate.draft import ERROR
    from jobctl.client.migrate.finish import finished
    from jobctl.client.migrate.sources import Asked, read_sources

    if source not in SOURCES:
        raise UsageError(f"{source[:40]!r} is none of {', '.join(SOURCES)}")
    kinds = [
        kind for kind, asked in (("system", system), ("user", user), ("anacron", anacron)) if asked
    ]
    if len(kinds) > 1:
        raise UsageError(f"--{kinds[0]} and --{kinds[1]} exclude each other")
    if kinds and source != "crontab":
        raise UsageError(f"--{kinds[0]} is for crontabs")
    asked = Asked(
        source=source, files=tuple(files), kind=kinds[0] if kinds else None, owner=owner, native=native,
        expand_run_parts=expand_run_parts, interpreter=interpreter,
    )  # fmt: skip
    found = read_sources(asked)
    text = finished(found)
    found.remarks.sort(key=lambda remark: (remark.file, remark.line))
    if output is not None:
        _write(output, text, force=force)
    if call.console.json:
        _document(call, found, text, output)
    else:
        for remark in found.remarks:
            (call.console.complain if remark.severity == ERROR else call.console.talk)(str(remark))
        if output is None:
            call.console.data(text.rstrip("\n"))
        else:
            call.console.data(output)
        _sum_up(call, found)
    if found.lost:
        lost = counted(len(found.lost), "job")
        call.console.report(
            "config", f"{lost} could not be carried over; see the end of what was written"
        )
        return ExitCode.CONFIG
    return ExitCode.OK


def export(
    call: Invocation,
    *,
    target: str,
    system: bool,
    user: bool,
    output: str | None,
    force: bool,
) -> int:
    """Write the jobs for another scheduler."""
    from jobctl.client.migrate.export_crontab import export_crontab
    from jobctl.client.migrate.export_systemd import export_systemd

    if target not in TARGETS:
        raise UsageError(f"{target[:40]!r} is none of {', '.join(TARGETS)}")
    if system and user:
        raise UsageError("--system and --user exclude each other")
    if (system or user) and target != "crontab":
        raise UsageError(f"--{'system' if system else 'user'} is for crontabs")
    config = call.session.config
    if target == "crontab":
        column = system or (not user and any(job.user for job in config.jobs.values()))
        out = export_crontab(config, system=column, owner=_me())
    else:
        out = export_systemd(config)
    written = _put(out.files, output, one=target == "crontab", force=force)
    if call.console.json:
        call.console.document(
            {
                "files": {} if output is not None else out.files,
                "written": written,
                "left_out": sorted(set(out.left_out)),
                "remarks": [asdict(remark) for remark in out.remarks],
            }
        )
        return ExitCode.OK
    warnings = sum(remark.severity == "warning" for remark in out.remarks)
    for remark in out.remarks:
        call.console.talk(str(remark))
    for path in written:
        call.console.data(path)
    if output is None:
        shown = out.files.items()
        texts = [text if target == "crontab" else f"# {name}\n{text}" for name, text in shown]
        call.console.data("\n".join(texts).rstrip("\n"))
    call.console.note(
        f"{counted(warnings, 'warning')}; stop jobctl's schedules before the others start"
    )
    return ExitCode.OK


def _me() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _put(files: dict[str, str], output: str | None, *, one: bool, force: bool) -> list[str]:
    """Write the files to where ``--output`` says: one file, or a directory; return their paths."""
    if output is None:
        return []
    if one:
        _write(output, "".join(files.values()), force=force)
        return [output]
    try:
        os.makedirs(output, exist_ok=True)  # noqa: PTH103 (texts)
    except OSError as error:
        raise NotPermittedError(f"{output} cannot be made: {error.strerror}") from error
    paths = {os.path.join(output, name): text for name, text in files.items()}  # noqa: PTH118 (texts)
    there = [path for path in paths if os.path.exists(path)]  # noqa: PTH110 (texts)
    if there and not force:
        raise JobctlError(f"{there[0]} exists; --force replaces it")
    for path, text in paths.items():
        _write(path, text, force=force, mode=0o644)
    return list(paths)


def _document(call: Invocation, found: Findings, text: str, output: str | None) -> None:
    call.console.document(
        {
            "jobs": [
                {
                    "job": job.name, "file": job.file, "line": job.line, "original": job.original,
                    "keys": job.keys, "schedules": job.schedules,
                }
                for job in found.jobs
            ],
            "lost": [asdict(lost) for lost in found.lost],
            "remarks": [asdict(remark) for remark in found.remarks],
            "output": None if output is None else os.path.abspath(output),  # noqa: PTH100 (texts)
            "toml": text if output is None else None,
        }
    )  # fmt: skip


def _sum_up(call: Invocation, found: Findings) -> None:
    warnings = sum(remark.severity == "warning" for remark in found.remarks)
    said = counted(len(found.jobs), "job")
    if warnings:
        said += f", {counted(warnings, 'warning')}"
    call.console.note(
        f"{said}; see them run with `jobctl next`, and stop the old scheduler before the daemon starts"
    )


def _write(path: str, text: str, *, force: bool, mode: int = 0o600) -> None:
    """Write a file; unless ``mode`` says so for nobody else, as tables may hold passwords."""
    how = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, how, mode), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise JobctlError(f"{path} exists; --force replaces it") from None
    except OSError as error:
        raise NotPermittedError(f"{path} cannot be written: {error.strerror}") from error
