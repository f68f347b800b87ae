"""The command: a shim that imports only what the words ask for."""

from __future__ import annotations

import sys


def main() -> None:
    """Run ``jobctl`` with the words of this process, and exit."""
    words = sys.argv[1:]
    if words == ["--version"]:
        from jobctl import __version__  # noqa: PLC0415 (each path pays for itself only)

        sys.stdout.write(f"jobctl {__version__}\n")
        return
    try:
        from jobctl.cli.start import start  # noqa: PLC0415 (same)

        code = start(words)
    except KeyboardInterrupt:
        # Before there was anything to interrupt.
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
