"""What ``jobctl.current()`` asks for in eager mode: progress, ``once`` and ``submit``, from memory."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from jobctl.client.plan import Plan
from jobctl.client.queues import require
from jobctl.client.submit import Wish, taken
from jobctl.engine.exchange import progress_json
from jobctl.engine.python_child import plain
from jobctl.engine.python_desk import checked_ttl, submit_options
from jobctl.errors import JobctlError
from jobctl.model.run import Parent, RunState

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.client.open import Session
    from jobctl.client.plan import Ready
    from jobctl.model.run import Request
    from jobctl.store.transitions import Answer


class Once:
    """The keys of ``once``, as the store keeps them, but for ever."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], str | None] = {}
        """Job and key → the run that has begun it; ``None`` when it is done."""

    def step(self, job: str, key: str, step: str, run_id: str) -> bool:
        """Take a step of ``first``, ``begin``, ``finish`` and ``leave``; tell whether it was taken."""
        place = (job, key)
        known, holder = place in self._keys, self._keys.get(place)
        if step in ("first", "begin"):
            # A run that began and did not finish was left by its attempt: it gets it again.
            if known and (step == "first" or holder != run_id):
                return False
            self._keys[place] = None if step == "first" else run_id
            return True
        if holder != run_id:
            return False
        if step == "finish":
            self._keys[place] = None
        else:
            del self._keys[place]
        return True


class EagerLink:
    """Serves the context of one attempt."""

    def __init__(
        self,
        session: Session,
        request: Request,
        *,
        attempt: int,
        once: Once,
        submit: Callable[[Session, Ready, Parent], Answer],
    ) -> None:
        self._session = session
        self._request = request
        self._attempt = attempt
        self._once = once
        self._submit = submit
        self.reported: str | None = None
        """The last progress, JSON text."""

    def progress(self, percent: float, message: str) -> None:
        """Keep how far the run is."""
        self.reported = progress_json(percent, message)

    def stopping(self) -> bool:
        """Return False: nobody can ask for a stop while the test waits for the function."""
        return False

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer ``once`` and ``submit``; ``{"error": …}`` says why not."""
        try:
            asked = json.loads(json.dumps(question, default=plain, allow_nan=False))
        except (TypeError, ValueError) as error:
            return {"error": f"the arguments cannot be written as JSON: {error}"}
        try:
            if asked["ask"] == "once":
                job, run_id = self._request.job, self._request.id
                checked_ttl(asked["ttl"])
                return {"yes": self._once.step(job, asked["key"], asked["step"], run_id)}
            return {"id": self._submitted(asked)}
        except JobctlError as error:
            return {"error": str(error)}

    def _submitted(self, asked: dict[str, Any]) -> str:
        options = submit_options(asked["with"])
        wish = Wish(
            asked["job"],
            start_in=options.get("in"),
            expires=options.get("expires"),
            queue=options.get("queue"),
            priority=options.get("priority"),
            tags=options.get("tags"),
            trigger="job",
        )
        if wish.queue is not None:
            self._session.carry_out(require(self._session, wish.queue))
        plan = Plan(self._session, wish, submitter=f"{self._request.job}@eager")
        ready = plan.ready(asked["args"], asked["kwargs"], run_id=options.get("id"))
        parent = Parent(
            run=self._request.id,
            job=self._request.job,
            state=RunState.RUNNING.value,
            attempt=self._attempt,
        )
        answer = self._submit(self._session, ready, parent)
        if answer.kind == "other":
            raise taken(ready.id, job=ready.job, other=answer.detail, option="_id")
        return answer.detail if answer.kind == "unique" else ready.id


def with_parent(request: Request, parent: Parent | None) -> Request:
    """Return the request with the run that made it."""
    return request if parent is None else dataclasses.replace(request, parent=parent)
