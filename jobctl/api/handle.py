"""What the handles of the blocking and of the asynchronous client have in common."""

from __future__ import annotations

from jobctl.api.endings import result_of
from jobctl.client.views import masked, run_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Self

    from jobctl.api.aio import AsyncClient
    from jobctl.api.client import Client
    from jobctl.api.operations import Operations
    from jobctl.model.run import Run as Record


class Handle:
    """One run that a client knows; what was read of a final run is kept."""

    __slots__ = ("_client", "_job", "_record", "id")

    def __init__(self, client: AsyncClient | Client, run_id: str, job: str) -> None:
        self.id = run_id
        self._client = client
        self._job = job
        self._record: Record | None = None

    @property
    def job(self) -> str:
        """The name of its job."""
        return self._job

    @property
    def _operations(self) -> Operations:
        return self._client._operations  # noqa: SLF001 - a handle belongs to its client

    @property
    def _reads_pickles(self) -> bool:
        return self._operations.session.settings.allow_pickle

    def _keep(self, record: Record) -> Record:
        self._record, self._job = record, record.job
        return record

    def _ended(self) -> Record | None:
        """Return what was read of it if it had ended: that does not change any more."""
        return self._record if self._record is not None and self._record.state.final else None

    def _result_of(self, record: Record) -> object:
        return result_of(record, allow_pickle=self._reads_pickles)

    def _view(self, record: Record) -> dict[str, object]:
        session = self._operations.session
        job = session.find_job(record.job)
        view = run_view(record, job, allow_pickle=self._reads_pickles)
        return view if session.path else masked(view)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} belongs to the connection of its client and cannot be pickled;"
            " pass its id, and get a handle there by run(id) of a client"
        )

    def __copy__(self) -> Self:
        return type(self)(self._client, self.id, self._job)

    def __deepcopy__(self, memo: object) -> Self:
        return self.__copy__()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id}, job={self._job!r})"
