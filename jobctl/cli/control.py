"""``revoke``, ``retry``, ``reload``, ``drain`` and ``stop``: orders."""

from __future__ import annotations

import signal as signals
import sys

from jobctl.cli import values
from jobctl.client import control as client
from jobctl.client.listing import Filter, find
from jobctl.client.references import fetch, resolve
from jobctl.errors import ExitCode, NotAcceptedError, NotFoundError, UsageError
from jobctl.model.run import FINAL_STATES, RunState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobctl.cli.invocation import Invocation
    from jobctl.client.control import Revoked
    from jobctl.client.supervisors import Supervisor

MOST_AT_ONCE = 1_000_000


def revoke(  # noqa: PLR0913 - one keyword per option
    call: Invocation,
    *,
    runs: list[str],
    signal: str | None,
    grace: str | None,
    no_kill: bool,
    all_: bool,
    job: str | None,
    tag: list[str],
    older: str | None,
    dry_run: bool,
    yes: bool,
    wait: bool,
) -> int:
    """Revoke the runs named, or all unfinished ones that fit."""
    name = _signal(signal)
    seconds = values.duration("--grace", grace)
    missing: list[NotFoundError] = []
    if all_:
        if runs:
            raise UsageError("name runs or give --all, not both; --job restricts --all to one job")
        ids = _fitting(call, job=job, tag=tag, older=older)
        if ids and not dry_run:
            _confirm(call, ids, yes=yes)
    elif job is not None or tag or older is not None:
        raise UsageError("--job, --tag and --older choose among all runs: add --all")
    elif not runs:
        raise UsageError("name the runs to revoke, or give --all")
    else:
        ids = _resolved(call, runs, missing)
    if dry_run:
        shown = _would(call, ids)
        return ExitCode.NOT_FOUND if missing else shown
    done = client.revoke(call.session, ids, signal=name, grace=seconds, kill=not no_kill)
    if not call.console.json:
        _report(call, done)
    ends = _await_end(call, [item.id for item in done if item.asked]) if wait else {}
    if call.console.json:
        call.console.document({"runs": [_view(item, ends.get(item.id)) for item in done]})
    if missing or not any(item.before for item in done):
        return ExitCode.NOT_FOUND
    return ExitCode.OK


def _signal(name: str | None) -> str | None:
    if name is None:
        return None
    wanted = name.upper().removeprefix("SIG")
    if wanted.isdecimal() and wanted.isascii():
        try:
            return signals.Signals(int(wanted)).name.removeprefix("SIG")
        except ValueError:
            wanted = ""
    if f"SIG{wanted}" not in signals.Signals.__members__:
        raise UsageError(
            f"--signal: {name[:20]!r} is no signal; write for example TERM, INT or USR1"
        )
    return wanted


def _resolved(call: Invocation, words: Sequence[str], missing: list[NotFoundError]) -> list[str]:
    """Return the runs named; a name that stands for nothing does not keep the others from it.

    What is wrong with such names is reported, and added to ``missing``.
    """
    ids: list[str] = []
    for word in words:
        try:
            ids.append(resolve(call.session, word))
        except NotFoundError as error:
            missing.append(error)
    if not ids:
        raise missing[0]
    for problem in missing:
        call.console.fail(problem)
    return list(dict.fromkeys(ids))


def _fitting(call: Invocation, *, job: str | None, tag: list[str], older: str | None) -> list[str]:
    age = values.duration("--older", older)
    states = frozenset(RunState) - FINAL_STATES
    wanted = Filter(states=states, job=job, tags=values.pairs("--tag", tag))
    latest = None if age is None else call.session.clock.epoch() - age
    found = find(call.session, wanted, most=MOST_AT_ONCE)
    return [item.id for item in found if latest is None or item.submitted_at <= latest]


def _confirm(call: Invocation, ids: Sequence[str], *, yes: bool) -> None:
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"--all would revoke {len(ids)} runs: add --yes, or --dry-run to see them")
    call.console.talk(f"Revoke {len(ids)} runs? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotAcceptedError("nothing was revoked")


def _would(call: Invocation, ids: Sequence[str]) -> int:
    if call.console.json:
        call.console.document({"runs": [{"id": run_id} for run_id in ids]})
    else:
        for run_id in ids:
            call.console.data(run_id)
    call.console.note(f"{len(ids)} runs would be revoked (--dry-run)")
    return ExitCode.OK if ids else ExitCode.NOT_FOUND


def _report(call: Invocation, done: Sequence[Revoked]) -> None:
    console = call.console
    for item in done:
        if item.before is None:
            console.note(f"run {item.id} is not known any more")
        elif item.was_final:
            console.data(
                f"{item.id} {item.before.value} -> {item.before.value} (it has ended already)"
            )
        elif item.asked:
            console.data(f"{item.id} {item.before.value} -> stopping")
        else:
            console.data(
                f"{item.id} {item.before.value} -> {item.after.value if item.after else '-'}"
            )
    if not done:
        console.note("there is nothing to revoke")


def _view(item: Revoked, end: RunState | None) -> dict[str, object]:
    after = end or item.after
    return {
        "id": item.id,
        "before": item.before.value if item.before else None,
        "after": after.value if after else None,
        "stopping": item.asked and end is None,
    }


def _await_end(call: Invocation, ids: Sequence[str]) -> dict[str, RunState]:
    """Wait until the runs are final; return their states."""
    from jobctl.cli.render import painted
    from jobctl.client.waiting import wait_for

    ends: dict[str, RunState] = {}
    for run in wait_for(call.session, ids):
        if run is None:
            continue
        ends[run.id] = run.state
        if not call.console.json:
            call.console.talk(painted(call.console, run))
    return ends


def retry(call: Invocation, *, runs: list[str], force: bool) -> int:
    """Submit runs again; prints the new ids."""
    from jobctl.cli.submit import explain
    from jobctl.client.sending import send_many
    from jobctl.client.submit import repeat

    found = [fetch(call.session, word) for word in runs]
    for run in found:
        if not run.state.final and not force:
            raise UsageError(
                f"run {run.id} is {run.state.value}, not final; wait for its end, or --force"
            )
    code: int = ExitCode.OK
    new = [repeat(call.session, run) for run in found]
    documents = []
    for receipt, run in zip(send_many(call.session, new), found, strict=True):
        if call.console.json:
            documents.append({"id": receipt.id, "retry_of": run.id, "answer": receipt.answer.kind})
        elif not receipt.full:
            call.console.data(receipt.id)
        code = code or explain(call, receipt)
    if call.console.json:
        call.console.document({"runs": documents})
    return code


def reload(
    call: Invocation,
    *,
    exec: bool,  # noqa: A002 - the option's name
    host: str | None,
    no_wait: bool,
    timeout: str | None,
) -> int:
    """Make supervisors read their configuration again, or replace themselves, if ours is fine."""
    from jobctl.config.load import load_config

    load_config(call.session.path)
    patience = values.duration("--timeout", timeout)
    message = client.REPLACE if exec else client.RELOAD
    if no_wait:
        _told(call, message, client.send(call.session, message, host=host))
        return ExitCode.OK
    patience = patience or client.RELOAD_TIMEOUT
    told = client.reload(call.session, message, host=host, timeout=patience)
    _told(call, message, told, done="has replaced itself" if exec else "has reloaded")
    return ExitCode.OK


def drain(call: Invocation, *, host: str | None, no_wait: bool, timeout: str | None) -> int:
    """Make supervisors finish what runs, however long it takes, and end."""
    return _end(call, "drain", host=host, no_wait=no_wait, timeout=timeout)


def stop(call: Invocation, *, host: str | None, no_wait: bool, timeout: str | None) -> int:
    """Make supervisors finish what runs, up to ``drain_timeout``, and end."""
    return _end(call, "stop", host=host, no_wait=no_wait, timeout=timeout)


def _end(
    call: Invocation, message: str, *, host: str | None, no_wait: bool, timeout: str | None
) -> int:
    patience = values.duration("--timeout", timeout)
    told = client.send(call.session, message, host=host)
    if no_wait:
        _told(call, message, told)
        return ExitCode.OK
    call.parting.words = "it ends all the same when its runs have ended"
    last = [-1]

    def on_look(left: list[Supervisor]) -> None:
        running = sum(item.running(pool) for item in left for pool in item.pools)
        if running != last[0] and running:
            last[0] = running
            call.console.note(f"{running} running on {', '.join(item.host for item in left)}")

    client.await_gone(call.session, told, timeout=patience, on_look=on_look)
    _told(call, message, told, done="has ended")
    return ExitCode.OK


def _told(call: Invocation, message: str, told: Sequence[Supervisor], *, done: str = "") -> None:
    if call.console.json:
        found = [{"id": item.id, "host": item.host, "pid": item.pid} for item in told]
        call.console.document({"message": message, "done": bool(done), "supervisors": found})
        return
    for item in told:
        what = done or f"was told to {message}"
        call.console.note(f"supervisor on {item.host} (pid {item.pid}) {what}")
