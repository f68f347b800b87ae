"""``wait``: until runs are final."""

from __future__ import annotations

from jobctl.cli import values
from jobctl.cli.render import painted
from jobctl.client.references import resolve_all
from jobctl.client.views import run_view
from jobctl.client.waiting import exit_code, wait_for
from jobctl.errors import ExitCode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobctl.cli.invocation import Invocation
    from jobctl.model.run import Run

GOES_ON = "the run goes on"


def wait(call: Invocation, *, runs: list[str], timeout: str | None, any_: bool) -> int:
    """Wait for all runs, or for the first; exit as the first that failed."""
    call.parting.words = GOES_ON if len(runs) == 1 else "the runs go on"
    patience = values.duration("--timeout", timeout)
    ids = resolve_all(call.session, runs)
    return _wait(call, ids, timeout=patience, first_only=any_)


def wait_for_one(call: Invocation, run_id: str, *, timeout: float | None) -> int:
    """Wait for a run that was just submitted; its id is printed already."""
    call.parting.words = GOES_ON
    return _wait(call, [run_id], timeout=timeout, first_only=False, data=False)


def _wait(
    call: Invocation,
    ids: Sequence[str],
    *,
    timeout: float | None,
    first_only: bool,
    data: bool = True,
) -> int:
    console = call.console
    code: int = ExitCode.OK
    ended: list[Run] = []
    with _bar(call) as bar:
        for run in wait_for(call.session, ids, timeout=timeout, on_look=bar):
            code = code or exit_code(run)
            if run is not None:
                ended.append(run)
                if not console.json:
                    with bar.aside():
                        (console.data if data else console.talk)(painted(console, run))
                        console.flush()
            if first_only:
                break
    if console.json and data:
        console.document({"runs": [run_view(run, call.session.find_job(run.job)) for run in ended]})
    return code


def _bar(call: Invocation):  # type: ignore[no-untyped-def]  # noqa: ANN202 - one of two
    if call.console.talks_to_person:
        from jobctl.cli.bar import ProgressBar

        return ProgressBar()
    from jobctl.cli.silence import Silence

    return Silence()
