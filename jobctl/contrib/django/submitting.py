"""Submitting runs from a Django project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.signals import setting_changed
from django.db import transaction

from jobctl.api.client import Client, Run
from jobctl.api.making import lock
from jobctl.api.many import name_of
from jobctl.contrib.django.conf import Settings
from jobctl.errors import NoSuchRun

if TYPE_CHECKING:
    from typing import Any, TypeVar

    from jobctl.client.steps import Steps

    T = TypeVar("T")

_clients: list[Client] = []


def client() -> Client:
    """Return the client of this process, made when first asked for; threads share it.

    Raises ``ConfigError`` when there is no jobs.toml.
    """
    with lock:
        if not _clients:
            chosen = Settings.read()
            _clients.append(
                Client(
                    chosen.CONFIG,
                    redis=chosen.REDIS,
                    namespace=chosen.NAMESPACE,
                    key_file=chosen.KEY_FILE,
                )
            )
        return _clients[0]


def submit(job: object, /, *args: object, **kwargs: object) -> Run:
    """Submit a run now; see :meth:`jobctl.Client.submit`.

    Within a transaction the run may start before it is committed, and sees nothing of it: use
    :func:`submit_on_commit`.
    """
    return client().submit(job, *args, **kwargs)


class PromisedRun(Run):
    """The handle of a run that is submitted when a transaction is committed."""

    __slots__ = ("submitted",)

    def __init__(self, sender: Client, run_id: str, job: str) -> None:
        super().__init__(sender, run_id, job)
        self.submitted = False

    def _carry_out(self, steps: Steps[T]) -> T:
        try:
            return super()._carry_out(steps)
        except NoSuchRun:
            if self.submitted:
                raise
        raise NoSuchRun(
            f"run {self.id} of job {self.job} has not been submitted: that happens when its"
            " transaction is committed, and never when it is rolled back",
            job=self.job,
            ids=[self.id],
        )


def submit_on_commit(
    job: object, /, *args: object, _using: str | None = None, **kwargs: object
) -> Run:
    """Submit a run when the transaction is committed, and never when it is rolled back.

    Arguments and options are checked now, and what was checked is sent, however they are changed
    meanwhile. Returns the handle now, with the id that the run will have: it is not known to the
    store before the commit. Of a ``unique`` job it is that of the waiting run from then on, where
    there is one. Outside of a transaction it is submitted at once. ``_using`` is the database whose
    transaction counts.

    Raises as :func:`submit`; what the store answers after the commit is raised where that was made,
    for example ``StoreUnreachable``: what was committed stays, and the run was not submitted.
    """
    sender = client()
    operations = sender._operations  # noqa: SLF001 - a submit without the sending
    checked = operations.session.carry_out(operations.checked(name_of(job), args, kwargs))
    run = PromisedRun(sender, checked.id, checked.job)

    def send() -> None:
        run.id = operations.session.carry_out(operations.sent(checked))
        run.submitted = True

    transaction.on_commit(send, using=_using)
    return run


def _forget(*, setting: str, **_: Any) -> None:  # noqa: ANN401 - what the signal carries
    """Make another client when a test overrides the setting."""
    if setting == "JOBCTL":
        for one in _clients:
            one.close()
        _clients.clear()


setting_changed.connect(_forget)
