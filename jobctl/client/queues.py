"""Whether a queue that somebody names is one: else its runs would wait for ever, without a word."""

from __future__ import annotations

from jobctl.client.open import hint, shown
from jobctl.client.steps import patiently
from jobctl.client.supervisors import Supervisor
from jobctl.errors import InvalidArguments
from jobctl.store import queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client.open import Session
    from jobctl.client.steps import Steps


def require(session: Session, name: str) -> Steps[None]:
    """Raise ``InvalidArguments`` unless the configuration has the queue, or a pool takes from it.

    Only a queue that the configuration does not have costs a question to the store.
    """
    if session.has_queue(name):
        return
    served = yield from taken_from(session)
    if name in served:
        session.known_queues.add(name)
        return
    known = sorted({*session.queue_names(), *served})
    raise InvalidArguments(
        f"no queue {shown(name)} in {session.path or 'jobs.toml'}, and no pool that is up takes "
        f"from it{hint(name, known)}"
    )


def taken_from(session: Session) -> Steps[set[str]]:
    """Return the queues from which pools take that are up, on any host."""
    keys = session.keys
    ids, now = yield from patiently(session, [queries.supervisors(keys), queries.now(keys)])
    if not ids:
        return set()
    facts = yield from patiently(session, [queries.supervisor(keys, one) for one in ids])
    found = [Supervisor(one, said, now=now) for one, said in zip(ids, facts, strict=True) if said]
    return {name for one in found if not one.stale for name in one.queues()}
