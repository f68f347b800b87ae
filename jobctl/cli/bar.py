"""A progress bar per run that is waited for, on a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from jobctl.cli.table import clean
from jobctl.client.views import loads
from jobctl.model.run import LETTERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from rich.progress import TaskID

    from jobctl.client import waiting

MOST_BARS = 10
MESSAGE_WIDTH = 40


class ProgressBar:
    """Shows state, progress and message of each unfinished run on stderr."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[run]}", style="bold"),
            TextColumn("{task.fields[state]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[percent]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}", style="dim", markup=False),
            console=Console(stderr=True),
            transient=True,
            # The data on stdout is not for the bar's stream.
            redirect_stdout=False,
            redirect_stderr=False,
            refresh_per_second=10,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bars off the screen while something else is written."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def __call__(self, looks: list[waiting.Progress]) -> None:
        """Show one look at the unfinished runs."""
        left = {look.id for look in looks}
        for run_id in [known for known in self._tasks if known not in left]:
            self._progress.remove_task(self._tasks.pop(run_id))
        for look in looks[:MOST_BARS]:
            self._show(look)

    def _show(self, look: waiting.Progress) -> None:
        known = loads(look.progress)
        progress = known if isinstance(known, dict) else {}
        percent = progress.get("percent")
        share = float(percent) if isinstance(percent, int | float) else None
        message = clean(str(progress.get("message") or ""))
        task = self._tasks.get(look.id)
        if task is None:
            task = self._tasks[look.id] = self._progress.add_task(
                "", total=None, run=look.id, state="", percent="", message=""
            )
        self._progress.update(
            task,
            total=None if share is None else 100.0,
            completed=share or 0.0,
            state=LETTERS[look.letter].value if look.letter in LETTERS else "",
            percent="" if share is None else f"{share:3.0f}%",
            message=Text(message[:MESSAGE_WIDTH]).plain,
        )
