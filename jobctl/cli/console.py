"""Standard output for data, standard error for talk: the only place that writes to either."""

from __future__ import annotations

import os
import sys

from jobctl.errors import JobctlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn, TextIO

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
    """The two streams of one command, and how much it may say.

    What writes data raises ``JobctlError`` when standard output takes no more, and
    ``BrokenPipeError`` when nobody reads it. Talk that cannot be written is lost: that is no
    reason to leave something undone.
    """

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
        self._out(text + "\n")

    def raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        try:
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError as error:
            _refused(error)

    def document(self, body: Mapping[str, object]) -> None:
        """Write one JSON document."""
        self.value({"schema": SCHEMA, **body})

    def value(self, value: object) -> None:
        """Write anything as one line of JSON, which other programs can read in any locale."""
        self.data(dumps(value, to=sys.stdout))

    def talk(self, text: str) -> None:
        """Tell a person something, unless ``--quiet``."""
        if not self.quiet:
            self._err(text + "\n")

    def note(self, text: str) -> None:
        """Say what scripts should not have to read, unless ``--quiet``."""
        self.talk(f"jobctl: {text}")

    def complain(self, text: str) -> None:
        """Say what is wrong, ``--quiet`` or not."""
        self._err(text + "\n")

    def fail(self, error: JobctlError) -> None:
        """Report why the command ends."""
        place: dict[str, object] = {}
        if error.field or error.column >= 0:
            place = {"field": error.field or None, "column": error.column}
        self.report(error.code, str(error), problems=getattr(error, "problems", ()), place=place)

    def report(
        self,
        code: str,
        message: str,
        *,
        problems: object = (),
        place: Mapping[str, object] | None = None,
    ) -> None:
        """Write one error in the form that was asked for."""
        if self.json:
            body: dict[str, object] = {"code": code, "message": message, **(place or {})}
            if problems:
                from jobctl.config.problem import problem_to_plain

                body["problems"] = [problem_to_plain(item) for item in problems]  # type: ignore[attr-defined]
            self._err(dumps({"schema": SCHEMA, "error": body}, to=sys.stderr) + "\n")
        elif problems:
            from jobctl.config.problem import format_problem

            self._err("\n".join(map(format_problem, problems)) + "\n")  # type: ignore[call-overload]
        else:
            self._err(f"jobctl: {message}\n")

    def style(self, text: str, name: str) -> str:
        """Return ``text`` in a style, where colours are welcome."""
        return f"\x1b[{STYLES[name]}m{text}\x1b[0m" if name and self.colours else text

    def clear(self) -> None:
        """Empty the screen, for a view that is drawn again and again."""
        self._out("\x1b[H\x1b[2J\x1b[3J")

    def flush(self) -> None:
        """Send off what is buffered."""
        try:
            sys.stdout.flush()
        except OSError as error:
            _refused(error)
        try:
            sys.stderr.flush()
        except OSError:
            discard(sys.stderr)

    def _out(self, text: str) -> None:
        try:
            _write(sys.stdout, text)
        except OSError as error:
            _refused(error)

    def _err(self, text: str) -> None:
        try:
            _write(sys.stderr, text)
        except OSError:
            discard(sys.stderr)


def dumps(value: object, *, to: TextIO | None = None) -> str:
    """Return ``value`` as one line of JSON; in ASCII when the stream it goes to has no UTF-8."""
    import json

    plain = to is not None and (to.encoding or "").lower().replace("-", "") != "utf8"
    return json.dumps(value, ensure_ascii=plain)


def discard(stream: TextIO) -> None:
    """Lose what is buffered and all that follows: Python would try again at its exit."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _refused(error: OSError) -> NoReturn:
    """Report why standard output takes no more, once; what else is written to it is lost."""
    discard(sys.stdout)
    if isinstance(error, BrokenPipeError):
        raise error
    raise JobctlError(f"standard output cannot be written: {error.strerror or error}") from error


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        # Names and messages may hold what this terminal cannot show.
        stream.write(text.encode("ascii", "backslashreplace").decode())
