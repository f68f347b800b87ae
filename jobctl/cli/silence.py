"""The progress bar of those who want none."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from jobctl.client.waiting import Progress


class Silence:
    """Takes what a progress bar takes, and shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def aside(self) -> Self:
        """Nothing has to be taken off the screen."""
        return self

    def __call__(self, looks: list[Progress]) -> None:
        """Ignore a look."""
