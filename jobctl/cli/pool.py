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
    hosts = client.order(call.session, action, pool, slots=number, host=host)
    if call.console.json:
        call.console.document({"action": action, "pool": pool, "hosts": hosts})
        return ExitCode.OK
    done = {
        client.GROW: f"gets {counted(number, 'more slot')}",
        client.SHRINK: f"loses {counted(number, 'slot')}",
        client.RESTART: "is replaced; what runs in it goes on to its end",
    }[action]
    call.console.talk(f"Pool {pool} on {', '.join(hosts)} {done}.")
    return ExitCode.OK


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
                        "slots": one.slots, "max": one.most, "pid": one.pid, "queues": one.queues,
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
            ", ".join(one.queues),
        )
        for one in found
    ]
    for line in columns(("HOST", "POOL", "SLOTS", "QUEUES"), rows) if rows else ():
        call.console.data(line)
    if not rows:
        call.console.talk("no supervisor is up; start one with `jobctl daemon`")
    return ExitCode.OK
