"""The files of one attempt after the other: its output, and by what it answers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jobctl.engine import spawn
from jobctl.engine.ending import Finding, keeps_result
from jobctl.engine.environment import attempt_environment
from jobctl.engine.exchange import Exchange, ResultError
from jobctl.engine.output import Output
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.workplace import Workplace

_log = logging.getLogger(__name__)


class AttemptFiles:
    """What a slot keeps on disk for the attempt that runs in it.

    ``occupied``: the slot begins with :meth:`adopt`, so the files of its name are in use.
    """

    def __init__(self, place: Workplace, *, slot: str, occupied: bool) -> None:
        self._place = place
        self.output = Output(dirs=place.dirs, slot=slot, occupied=occupied)
        self.exchange = Exchange(dirs=place.dirs, slot=slot, occupied=occupied)

    def open_output(self, spec: AttemptSpec) -> int:
        """Return the descriptor to which the attempt writes; raises SpawnError."""
        try:
            fd = self.output.open(
                job=spec.job.name,
                run_id=spec.run_id,
                attempt=spec.number,
                limit=spec.max_output,
            )
        except OSError as error:
            raise spawn.SpawnError(
                f"the log {error.filename} cannot be written: {error.strerror}", cause=error.errno
            ) from error
        self._place.outputs.add(self.output)
        return fd

    def environment(self, spec: AttemptSpec, launch: spawn.Launch) -> dict[str, str]:
        """Make the files for result and progress; return what the attempt finds in its environment.

        Raises SpawnError.
        """
        try:
            self.exchange.begin(spec.run_id, spec.number, owner=launch.identity.owner)
        except OSError as error:
            raise spawn.SpawnError(
                f"{error.filename} cannot be made for the job's user: {error.strerror}",
                cause=error.errno,
            ) from error
        return attempt_environment(
            spec,
            launch.environment,
            result_file=self.exchange.result_file,
            progress_file=self.exchange.progress_file,
        )

    def adopt(self, spec: AttemptSpec, *, silent: bool = False) -> None:
        """Go on with the files of an attempt that somebody else made.

        One that was ``silent`` to its end has no file of output: what is there is of another run.
        """
        self.exchange.adopt(spec.run_id, spec.number)
        if silent:
            return
        try:
            self.output.adopt(
                job=spec.job.name,
                run_id=spec.run_id,
                attempt=spec.number,
                limit=spec.max_output,
            )
            self._place.outputs.add(self.output)
        except OSError as error:
            _log.warning("the log of run %s cannot be watched: %s", spec.run_id, error)

    def result(self, spec: AttemptSpec, finding: Finding) -> tuple[Finding, str | None]:
        """Return the result as JSON, and the finding, which a bad result can spoil."""
        if not keeps_result(spec.job, succeeded=finding.kind is OutcomeKind.SUCCEEDED):
            return finding, None
        try:
            return finding, self.exchange.result(spec.max_result)
        except ResultError as error:
            if finding.kind is not OutcomeKind.SUCCEEDED:
                return finding, None
            return Finding(OutcomeKind.FAILED, Reason.RESULT, str(error)), None

    def end(self) -> None:
        """Let go of everything, however the attempt ended."""
        self._place.outputs.discard(self.output)
        self.output.close(retire=True)
        self.exchange.end()
