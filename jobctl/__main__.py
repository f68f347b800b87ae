"""The command: a shim that imports only what the words ask for."""

from __future__ import annotations

import sys


def main() -> None:
    """Run ``jobctl`` with the words of this process, and exit."""
    words = sys.argv[1:]
    try:
        if sys.stdin is None or sys.stdout is None or sys.stderr is None:
            from jobctl.cli.streams import open_closed  # noqa: PLC0415 (each path pays for itself)

            open_closed()
        if words == ["--version"] and _told_version():
            return
        if _verb(words) == "daemon":
            _hold_signals()
        from jobctl.cli.start import start  # noqa: PLC0415 (same)

        code = start(words)
    except KeyboardInterrupt:
        # Before there was anything to interrupt.
        code = 130
    sys.exit(code)


def _verb(words: list[str]) -> str | None:
    """Return the first word that is no option and no value of one."""
    left = iter(words)
    for word in left:
        if word in ("-c", "--config"):
            next(left, None)
        elif not word.startswith("-"):
            return word
    return None


def _hold_signals() -> None:
    """Let signals wait until the daemon, which takes a while to begin, can end in order.

    See :mod:`jobctl.engine.signals`, which is a part of that while.
    """
    import signal  # noqa: PLC0415 (same)

    signal.pthread_sigmask(
        signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
    )


def _told_version() -> bool:
    """Write the version; return whether that could be done."""
    from jobctl import __version__  # noqa: PLC0415 (same)

    try:
        sys.stdout.write(f"jobctl {__version__}\n")
        sys.stdout.flush()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
