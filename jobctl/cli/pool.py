"""``jobctl pool``: what the pools have, and orders to them."""

from __future__ import annotations

from jobctl.cli.table import columns
from jobctl.cli.values import counted
from jobctl.client import pools as client
from jobctl.errors import ExitCode, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.cli.invocation import Invocation

BY = (client.GROW, client.SHRINK)
ACTIONS = ("list", *BY, client.RESTART)
MOST = 10_000


def pool(
    call: Invocation, *, action: str, pool: str | None, slots: str | None, host: str | None
) -> int:
    """Carry out one action."""
    if action not in ACTIONS:
        raise UsageError(f"{action[:40]!r} is none of {', '.join(ACTIONS)}")
    if action == "list":
        if pool is not None:
            raise UsageError("jobctl pool list takes no name: it lists all pools")
        return _list(call, host)
    if pool is None:
        raise UsageError(f"jobctl pool {action} needs the name of a pool; see `jobctl pool list`")
    if slots is not None and action not in BY:
        raise UsageError(f"jobctl pool {action} takes no number of slots")
    number = _number(slots)
    done = client.order(call.session, action, pool, slots=number, host=host)
    if call.console.json:
        hosts = [one.host for one in done]
        changes = {} if action == client.RESTART else {"slots": {one.host: one.by for one in done}}
        call.console.document({"action": action, "pool": pool, "hosts": hosts, **changes})
        return ExitCode.OK
    alike: dict[str, list[str]] = {}
    for one in done:
        alike.setdefault(_said(action, number, one), []).append(one.host)
    for words, where in alike.items():
        call.console.talk(f"Pool {pool} on {', '.join(where)} {words}.")
    return ExitCode.OK


def _said(action: str, number: int, done: client.Ordered) -> str:
    """Return what an order does, in words; less than was asked for says why."""
    if action == client.RESTART:
        return "is replaced; what runs in it goes on to its end"
    bound = "most" if action == client.GROW else "fewest"
    if not done.by:
        return f"keeps its {counted(done.now, 'slot')}, the {bound} that it may have"
    changed = abs(done.by)
    what = (
        f"gets {counted(changed, 'more slot')}"
        if done.by > 0
        else f"loses {counted(changed, 'slot')}"
    )
    rest = f", not {number}: {done.now + done.by} is the {bound} that it may have"
    return what + (rest if changed < number else "")


def _number(slots: str | None) -> int:
    if slots is None:
        return 1
    if not (slots.isascii() and slots.isdigit() and 1 <= int(slots) <= MOST):
        raise UsageError(f"{slots[:40]!r} is not a number of slots from 1 to {MOST}")
    return int(slots)


def _list(call: Invocation, host: str | None) -> int:
    found = client.pools(call.session, host=host)
    if call.console.json:
        call.console.document(
            {
                "pools": [
                    {
                        "pool": one.name, "host": one.host, "running": one.running,
                        "slots": one.slots, "max": one.most, "children": one.children, "pid": one.pid,
                        "queues": one.queues,
                    }
                    for one in found
                ]
            }
        )  # fmt: skip
        return ExitCode.OK
    rows = [
        (
            one.host,
            one.name,
            f"{one.running}/{one.slots}" + ("" if one.most is None else f" (max {one.most})"),
            str(one.children),
            ", ".join(one.queues),
        )
        for one in found
    ]
    for line in columns(("HOST", "POOL", "SLOTS", "PYTHON", "QUEUES"), rows) if rows else ():
        call.console.data(line)
    if not rows:
        call.console.talk("no supervisor is up; start one with `jobctl daemon`")
    return ExitCode.OK
