"""Standard output for data, standard error for talk: the only place that writes to either."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from jobctl.errors import JobctlError

SCHEMA = 1
STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}


class Console:
    """The two streams of one command, and how much it may say."""

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet

    @property
    def on_terminal(self) -> bool:
        """Whether a person reads the data."""
        return sys.stdout.isatty()

    @property
    def talks_to_person(self) -> bool:
        """Whether a person reads the talk, and wants it."""
        return not self.quiet and not self.json and sys.stderr.isatty()

    @property
    def colours(self) -> bool:
        """Whether data may be coloured."""
        return (
            self.on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )

    def data(self, text: str) -> None:
        """Write data and a newline."""
        _write(sys.stdout, text + "\n")

    def raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def document(self, body: Mapping[str, object]) -> None:
        """Write one JSON document."""
        self.data(dumps({"schema": SCHEMA, **body}))

    def talk(self, text: str) -> None:
        """Tell a person something, unless ``--quiet``."""
        if not self.quiet:
            _write(sys.stderr, text + "\n")

    def note(self, text: str) -> None:
        """Say what scripts should not have to read, unless ``--quiet``."""
        self.talk(f"jobctl: {text}")

    def complain(self, text: str) -> None:
        """Say what is wrong, ``--quiet`` or not."""
        _write(sys.stderr, text + "\n")

    def fail(self, error: JobctlError) -> None:
        """Report why the command ends."""
        self.report(error.code, str(error), problems=getattr(error, "problems", ()))

    def report(self, code: str, message: str, *, problems: object = ()) -> None:
        """Write one error in the form that was asked for."""
        if self.json:
            body: dict[str, object] = {"code": code, "message": message}
            if problems:
                from jobctl.config.problem import problem_to_plain

                body["problems"] = [problem_to_plain(item) for item in problems]  # type: ignore[attr-defined]
            _write(sys.stderr, dumps({"schema": SCHEMA, "error": body}) + "\n")
        elif problems:
            from jobctl.config.problem import format_problem

            _write(sys.stderr, "\n".join(map(format_problem, problems)) + "\n")  # type: ignore[call-overload]
        else:
            _write(sys.stderr, f"jobctl: {message}\n")

    def style(self, text: str, name: str) -> str:
        """Return ``text`` in a style, where colours are welcome."""
        return f"\x1b[{STYLES[name]}m{text}\x1b[0m" if name and self.colours else text

    def clear(self) -> None:
        """Empty the screen, for a view that is drawn again and again."""
        _write(sys.stdout, "\x1b[H\x1b[2J\x1b[3J")

    def flush(self) -> None:
        """Send off what is buffered; raises ``BrokenPipeError`` when nobody reads it."""
        sys.stdout.flush()
        sys.stderr.flush()


def dumps(value: object) -> str:
    """Return ``value`` as one line of JSON."""
    import json

    return json.dumps(value, ensure_ascii=False)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        # Names and messages may hold what this terminal cannot show.
        stream.write(text.encode("ascii", "backslashreplace").decode())
