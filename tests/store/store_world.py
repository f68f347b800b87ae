"""A namespace in a real server, with short words for what supervisors and submitters do to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jobctl.model.admission import Admission, NewRun
from jobctl.model.ids import new_id
from jobctl.model.run import Request
from jobctl.store import membership, queries, settling, transitions
from jobctl.store.calls import Call
from jobctl.store.keys import Keys
from jobctl.store.settling import Settlement
from jobctl.store.transitions import Answer, Claim, ClaimReply
from jobctl.store.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobctl.store.blocking import BlockingStore

ADMISSION = (
    "limits", "overlap", "keep", "on_lost", "max_length", "start_deadline", "notices",
)  # fmt: skip
TIMES = ("start_in", "start_at", "expires_in", "unique", "keep_id")
DEADLINE = 10.0


def new_run(run_id: str | None = None, **options: Any) -> NewRun:
    """A run of job "j"; options are fields of Request, Admission and NewRun alike."""
    rules = {name: options.pop(name) for name in ADMISSION if name in options}
    times = {name: options.pop(name) for name in TIMES if name in options}
    request = Request(id=run_id or new_id(), job=options.pop("job", "j"), **options)
    return NewRun(request=request, admission=Admission(**rules), **times)


class World:
    """Supervisors are "h1~a", "h2~a" …; the first pool of each, "h1~a/p.1", is its owner."""

    def __init__(self, store: BlockingStore, namespace: str = "t") -> None:
        self.store = store
        self.keys = Keys(namespace)
        self.run = store.run
        self.supervisor("h1~a")

    def raw(self, *words: str | int) -> Any:
        return self.store.run(Call(words, lambda reply: reply))

    def supervisor(self, sid: str) -> str:
        """Register a supervisor with one pool; return the pool's owner id."""
        owner = f"{sid}/p.1"
        self.run(membership.register(self.keys, supervisor=sid, facts={"host": sid}))
        assert self.run(membership.add_pool(self.keys, supervisor=sid, owner=owner))
        return owner

    def answer(self, run_id: str | None = None, **options: Any) -> Answer:
        return self.run(transitions.submit(self.keys, [new_run(run_id, **options)]))[0]

    def submit(self, run_id: str | None = None, **options: Any) -> str:
        """Submit a run that must be accepted; return its id."""
        run = new_run(run_id, **options)
        answers = self.run(transitions.submit(self.keys, [run]))
        assert answers == (Answer("ok"),)
        return run.request.id

    def take(
        self,
        want: int = 1,
        *,
        sid: str = "h1~a",
        queues: Sequence[str] = ("default",),
        low_first: bool = False,
    ) -> ClaimReply:
        return self.run(
            transitions.claim(
                self.keys,
                supervisor=sid,
                owner=f"{sid}/p.1",
                want=want,
                queues=queues,
                low_first=low_first,
            )
        )

    def claim(self, want: int = 1, **options: Any) -> list[str]:
        return [claim.id for claim in self.take(want, **options).claims]

    def claim_one(self, run_id: str, **options: Any) -> Claim:
        """Claim exactly this run."""
        (claim,) = self.take(**options).claims
        assert claim.id == run_id
        return claim

    def start(self, run_id: str, epoch: int = 1, *, attempt: int = 1, sid: str = "h1~a") -> str:
        mark = (run_id, epoch, attempt, 1_700_000_000.0, 4242)
        return self.run(transitions.start(self.keys, owner=f"{sid}/p.1", marks=[mark]))[0]

    def settle(
        self,
        run_id: str,
        letter: str = "k",
        *,
        epoch: int = 1,
        reason: str = "",
        delay: float = 0.0,
        sid: str = "h1~a",
        fields: tuple[str | int, ...] = ("du", "0.1"),
    ) -> str:
        item = Settlement(run_id, epoch, letter, reason, delay, fields)
        return self.run(settling.settle(self.keys, owner=f"{sid}/p.1", items=[item]))[0]

    def release(self, *items: tuple[str, int], sid: str = "h1~a") -> tuple[str, ...]:
        return self.run(transitions.release(self.keys, owner=f"{sid}/p.1", items=items))

    def rescue(self, sid: str = "h1~a", **options: Any) -> membership.RescueReply:
        return self.run(membership.rescue(self.keys, supervisor=sid, **options))

    def revoke(self, *ids: str, **options: Any) -> tuple[str, ...]:
        return self.run(transitions.revoke(self.keys, ids, **options))

    def promote(self) -> transitions.PromoteReply:
        return self.run(transitions.promote(self.keys))

    def limits(self, **sizes: object) -> int:
        """Set limits; ``l_db=3`` is the limit ``l:db``, an empty size removes it."""
        named = {name.replace("_", ":", 1): str(size) for name, size in sizes.items()}
        return self.run(transitions.set_limits(self.keys, named))

    def running(self, **options: Any) -> str:
        """Submit, claim and start a run."""
        sid = options.pop("sid", "h1~a")
        run_id = self.submit(**options)
        claim = self.claim_one(run_id, sid=sid, queues=[options.get("queue", "default")])
        assert self.start(run_id, claim.epoch, sid=sid) == "ok"
        return run_id

    def record(self, run_id: str) -> dict[str, str]:
        flat = [item.decode() for item in self.raw("HGETALL", self.keys.run(run_id))]
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def state(self, run_id: str) -> str | None:
        return self.run(queries.state(self.keys, run_id))[0]

    def states(self, *ids: str) -> str:
        return "".join(self.state(run_id) or "-" for run_id in ids)

    def reason(self, run_id: str) -> str | None:
        return self.record(run_id).get("rs")

    def now(self) -> float:
        return self.run(queries.now(self.keys))

    def counters(self) -> dict[str, int]:
        return {name: int(value) for name, value in self.run(queries.counters(self.keys)).items()}

    def let_pass(self, seconds: float) -> None:
        """Wait until the store's clock has moved on."""
        goal = self.now() + seconds
        self.until(lambda: self.now() > goal)

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, "the condition never came true"

    def check(self) -> None:
        """Fail on any contradiction in the namespace."""
        found = verify(self.store, self.keys)
        assert not found, "\n".join(found)
