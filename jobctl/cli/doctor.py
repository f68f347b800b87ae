"""``jobctl doctor``: is everything as it should be, and if not, what to do."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain

from jobctl.client.doctor import ERROR, OK, WARNING, Check, local_checks
from jobctl.client.notice_checks import mail_check
from jobctl.client.signature_checks import key_check
from jobctl.client.store_health import store_checks
from jobctl.errors import ConfigError, ExitCode, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.cli.console import Console
    from jobctl.cli.invocation import Invocation

STYLES = {OK: "green", WARNING: "yellow", ERROR: "red"}


def doctor(call: Invocation, *, verify: bool, repair: bool, dry_run: bool, yes: bool) -> int:
    """Show numbered checks; exit 1 when one of them found an error.

    What ``repair`` mended is no error any more.
    """
    if (dry_run or yes) and not repair:
        raise UsageError("--dry-run and --yes say how to mend: add --repair")
    console = call.console
    body: dict[str, object] = {}
    checks = _checks(call)
    if verify or repair:
        from jobctl.cli.verification import content_checks

        checks = chain(checks, content_checks(call, body, repair=repair and not dry_run, yes=yes))
    found = []
    for number, check in enumerate(checks, 1):
        found.append({"number": number, **asdict(check), "remedy": check.remedy or None})
        if not console.json and not (console.quiet and check.status == OK):
            _show(console, number, check)
    bad = sum(item["status"] == ERROR for item in found)
    if console.json:
        console.document({"ok": not bad, "checks": found, **body})
    elif bad:
        console.note(f"{bad} of {len(found)} checks found errors")
    return ExitCode.JOB_FAILED if bad else ExitCode.OK


def _checks(call: Invocation) -> Iterator[Check]:
    try:
        session = call.session
        config = session.config
        local = local_checks(config, explicit=call.config, clock=session.clock)
        yield from chain(local, (key_check(config),), mail_check(config), store_checks(session))
    except ConfigError as error:
        first, *more = str(error).splitlines()
        rest = f" (and {len(more)} more)" if more else ""
        yield Check(
            name="configuration",
            status=ERROR,
            detail=first + rest,
            remedy="mend what `jobctl check` shows",
        )


def _show(console: Console, number: int, check: Check) -> None:
    status = console.style(f"{check.status:7}", STYLES[check.status])
    console.data(f"{number:2} {status} {check.name}: {check.detail}")
    if check.remedy:
        console.data(f"           {console.style('->', 'bold')} {check.remedy}")
