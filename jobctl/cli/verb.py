"""What a verb of ``jobctl`` and its words are made of."""

from __future__ import annotations

RENAMED = frozenset(("in", "from", "all", "any", "id"))
"""Option names that would hide a word of Python's; their parameter ends with ``_``."""


class Option:
    """One option of a verb. Without ``metavar`` it is a switch."""

    __slots__ = ("complete", "flags", "help", "many", "metavar", "name")

    def __init__(
        self,
        *flags: str,
        help: str,  # noqa: A002 - the word of every other parser
        metavar: str = "",
        many: bool = False,
        complete: str = "",
    ) -> None:
        self.flags = flags
        self.help = help
        self.metavar = metavar
        self.many = many
        """It may be given several times."""
        self.complete = complete
        """What its value is: ``file``, ``jobs``, ``queues``, ``runs`` or words to choose from."""
        long = next(flag for flag in flags if flag.startswith("--"))
        name = long[2:].replace("-", "_")
        self.name = f"{name}_" if name in RENAMED else name


class Argument:
    """One positional argument of a verb."""

    __slots__ = ("complete", "help", "many", "name", "required")

    def __init__(
        self,
        name: str,
        *,
        help: str,  # noqa: A002 - same
        required: bool = True,
        many: bool = False,
        complete: str = "",
    ) -> None:
        self.name = name
        self.help = help
        self.required = required
        self.many = many
        self.complete = complete


class Verb:
    """One verb: where its function is, and what it takes.

    The function gets an ``Invocation`` and one keyword per argument and option.
    """

    __slots__ = (
        "arguments",
        "examples",
        "help",
        "literal",
        "name",
        "options",
        "panel",
        "reads",
        "target",
    )

    def __init__(  # noqa: PLR0913 - one keyword per thing a verb may have
        self,
        name: str,
        target: str,
        *,
        panel: str,
        help: str = "",  # noqa: A002
        arguments: tuple[Argument, ...] = (),
        options: tuple[Option, ...] = (),
        examples: tuple[str, ...] = (),
        literal: bool = False,
        reads: bool = False,
    ) -> None:
        self.name = name
        self.target = target
        """``module:function`` below ``jobctl.cli``."""
        self.help = help
        self.panel = panel
        self.arguments = arguments
        self.options = options
        self.examples = examples
        self.literal = literal
        """Words after ``--`` are handed on apart from the others."""
        self.reads = reads
        """It only shows runs: a configuration that is wrong now may count as it last was right."""
