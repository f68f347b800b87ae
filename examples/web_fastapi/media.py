"""The jobs; workers import this, and not the web application."""

from __future__ import annotations

from jobctl import current, job


@job("thumbnail", timeout="2m")
def make_thumbnail(path: str, width: int = 320) -> dict[str, object]:
    """Make a small copy of a picture."""
    run = current(None)
    for percent in (0, 50, 100):
        if run is not None:
            run.progress(percent, f"resizing {path}")
    if path.endswith(".txt"):
        raise ValueError(f"{path} is no picture")
    return {"path": path, "width": width}


@job("forever")
def wait_for_a_signal() -> None:
    """Run until somebody revokes it."""
    import signal  # noqa: PLC0415 (only this job needs it)

    run = current(None)
    if run is not None:
        run.progress(10, "waiting")
    signal.pause()
