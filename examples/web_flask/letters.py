"""The jobs; they use what the application is configured with."""

from __future__ import annotations

from flask import current_app

from jobctl import job
from jobctl.contrib.flask import with_app


@job("letter")
@with_app("shop_web:create_app")
def write_letter(to: str) -> str:
    """Write a letter in the name of the shop."""
    return f"Dear {to}, yours {current_app.config['SHOP_NAME']}"


@job
@with_app("shop_web:create_app")
async def greet(name: str) -> str:
    """Do the same without waiting for anything."""
    return f"{current_app.config['SHOP_NAME']} greets {name}"


@job
def forever() -> None:
    """Run until somebody revokes it."""
    import signal  # noqa: PLC0415 (only this job needs it)

    signal.pause()
