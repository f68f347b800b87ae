"""Completion scripts for bash, zsh and fish, and the answers they ask for.

The scripts are static: verbs and options are in them, so a TAB starts no Python. Only names of
jobs and queues and ids of runs are asked for, with ``jobctl __complete KIND PREFIX``.
"""

from __future__ import annotations

import sys

from jobctl.cli.verb import Option
from jobctl.cli.verbs import EVERYWHERE, VERBS
from jobctl.errors import ExitCode, JobctlError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobctl.cli.invocation import Invocation
    from jobctl.cli.verb import Verb
    from jobctl.client.open import Session

ASKED = ("jobs", "queues", "runs")
"""Kinds of words that only a running ``jobctl`` knows."""
FILES = {"bash": "jobctl.bash", "zsh": "_jobctl", "fish": "jobctl.fish"}
MOST_RUNS = 50
_HELP = Option("--help", "-h", help="Show help and exit.")


def completions(call: Invocation, *, shell: str) -> int:
    """Print the script of one shell."""
    if shell not in FILES:
        raise UsageError(f"no completions for {shell[:20]!r}; there are {', '.join(FILES)}")
    call.console.raw(script(shell).encode())
    return ExitCode.OK


def script(shell: str) -> str:
    """Return the completion script of ``bash``, ``zsh`` or ``fish``."""
    make = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    return "\n".join(make()) + "\n"


def _flags(verb: Verb) -> tuple[Option, ...]:
    return (*verb.options, *EVERYWHERE, _HELP)


def _kind(verb: Verb) -> str:
    """Return what the positional arguments of a verb are."""
    return next((item.complete for item in verb.arguments if item.complete), "")


def _line(text: str) -> str:
    """Return the first sentence, without what shells would take for their own."""
    first = text.split("\n\n", maxsplit=1)[0].split(". ", maxsplit=1)[0].rstrip(".")
    return "".join(char for char in first if char not in "'\"`$\\[]:")


def _bash() -> Iterator[str]:
    yield "# bash completion for jobctl; made by `jobctl completions bash`."
    yield "# shellcheck shell=bash"
    yield from _BASH_HEAD
    verbs = " ".join(verb.name for verb in VERBS)
    yield "    if [[ -z $verb ]]; then"
    yield f"        _jobctl_words '{verbs} --config --version --help'"
    yield "        return"
    yield "    fi"
    yield "    case $verb in"
    for verb in VERBS:
        yield f"        {verb.name})"
        yield "            case $prev in"
        for kind in dict.fromkeys(flag.complete for flag in _flags(verb) if flag.metavar):
            names = [
                name
                for flag in _flags(verb)
                if flag.metavar and flag.complete == kind
                for name in flag.flags
            ]
            answer = f"{_bash_value(kind)}; " if kind else ""
            yield f"                {'|'.join(names)}) {answer}return ;;"
        yield "            esac"
        yield "            if [[ $cur == -* ]]; then"
        switches = " ".join(name for flag in _flags(verb) for name in flag.flags)
        yield f"                _jobctl_words '{switches}'"
        yield "            else"
        yield f"                {_bash_value(_kind(verb))}"
        yield "            fi ;;"
    yield "    esac"
    yield "}"
    yield ""
    yield "complete -o bashdefault -F _jobctl jobctl"


_BASH_HEAD = (
    "",
    "_jobctl_words() {",
    '    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")',
    "}",
    "",
    "_jobctl_ask() {",
    '    mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" __complete "${config[@]}" "$1" "$cur" 2>/dev/null)',
    "}",
    "",
    "_jobctl_files() {",
    '    mapfile -t COMPREPLY < <(compgen -f -- "$cur")',
    "    compopt -o filenames 2>/dev/null",
    "}",
    "",
    "_jobctl() {",
    "    local cur prev verb i",
    "    local -a config=()",
    "    COMPREPLY=()",
    "    cur=${COMP_WORDS[COMP_CWORD]}",
    "    prev=${COMP_WORDS[COMP_CWORD - 1]}",
    "    verb=",
    "    for ((i = 1; i < COMP_CWORD; i++)); do",
    "        case ${COMP_WORDS[i]} in",
    "            -c|--config)",
    '                ((i + 1 < COMP_CWORD)) && config=(-c "${COMP_WORDS[i + 1]}")',
    "                ((i++)) ;;",
    "            -*) ;;",
    "            *) [[ -n $verb ]] || verb=${COMP_WORDS[i]} ;;",
    "        esac",
    "    done",
    "    if [[ $prev == -c || $prev == --config ]]; then",
    "        _jobctl_files",
    "        return",
    "    fi",
)


def _bash_value(kind: str) -> str:
    if kind in ASKED:
        return f"_jobctl_ask {kind}"
    if kind == "file":
        return "_jobctl_files"
    return f"_jobctl_words '{kind}'" if kind else ":"


def _zsh() -> Iterator[str]:
    yield "#compdef jobctl"
    yield "# zsh completion for jobctl; made by `jobctl completions zsh`."
    yield from _ZSH_HEAD
    yield "    local -a verbs=("
    for verb in VERBS:
        yield f"        '{verb.name}:{_line(verb.help)}'"
    yield "    )"
    yield "    _arguments -C \\"
    yield "        '(-c --config)'{-c,--config}'[Use this jobs.toml]:FILE:_files' \\"
    yield "        '--version[Show the version and exit]' \\"
    yield "        '(-h --help)'{-h,--help}'[Show help and exit]' \\"
    yield "        '1:verb:->verb' '*::argument:->argument' && return"
    yield "    case $state in"
    yield "        verb) _describe 'verb' verbs ;;"
    yield "        argument)"
    yield "            case $words[1] in"
    for verb in VERBS:
        yield f"                {verb.name})"
        yield "                    _arguments -S \\"
        for flag in _flags(verb):
            yield f"                        {_zsh_flag(flag)} \\"
        yield f"                        '*:argument:{_zsh_value(_kind(verb))}' ;;"
    yield "            esac ;;"
    yield "    esac"
    yield "}"
    yield ""
    yield '_jobctl "$@"'


_ZSH_HEAD = (
    "",
    "_jobctl_ask() {",
    "    local -a found",
    '    found=(${(f)"$(jobctl __complete $@[-1] "$PREFIX" 2>/dev/null)"})',
    '    compadd "${@[1,-2]}" -a found',
    "}",
    "",
    "_jobctl() {",
    "    local state line",
    "    typeset -A opt_args",
)


def _zsh_flag(flag: Option) -> str:
    value = f":{flag.metavar.replace(':', '')}:{_zsh_value(flag.complete)}" if flag.metavar else ""
    text = f"[{_line(flag.help)}]{value}"
    if len(flag.flags) == 1:
        return f"'*{flag.flags[0]}{text}'"
    return f"'({' '.join(flag.flags)})'{{{','.join(flag.flags)}}}'{text}'"


def _zsh_value(kind: str) -> str:
    if kind in ASKED:
        return f"_jobctl_ask {kind}"
    if kind == "file":
        return "_files"
    return f"({kind})" if kind else " "


def _fish() -> Iterator[str]:
    yield "# fish completion for jobctl; made by `jobctl completions fish`."
    yield "complete -c jobctl -f"
    names = " ".join(verb.name for verb in VERBS)
    yield f"set -l verbs {names}"
    unseen = '-n "not __fish_seen_subcommand_from $verbs"'
    yield f"complete -c jobctl {unseen} -s c -l config -r -F -d 'Use this jobs.toml'"
    yield f"complete -c jobctl {unseen} -l version -d 'Show the version and exit'"
    for verb in VERBS:
        yield f"complete -c jobctl {unseen} -a {verb.name} -d '{_line(verb.help)}'"
    for verb in VERBS:
        seen = f'-n "__fish_seen_subcommand_from {verb.name}"'
        if _kind(verb):
            yield f"complete -c jobctl {seen} {_fish_value(_kind(verb))}"
        for flag in _flags(verb):
            letters = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in flag.flags
            )
            value = f" -r {_fish_value(flag.complete)}".rstrip() if flag.metavar else ""
            yield f"complete -c jobctl {seen} {letters}{value} -d '{_line(flag.help)}'"


def _fish_value(kind: str) -> str:
    if kind in ASKED:
        return f"-a '(jobctl __complete {kind} (commandline -ct) 2>/dev/null)'"
    if kind == "file":
        return "-F"
    return f"-a '{kind}'" if kind else ""


def complete(words: list[str]) -> int:
    """Print the words of a kind that begin with a prefix, one a line; nothing when in doubt."""
    config = words[1] if words[:1] == ["-c"] and len(words) > 1 else None
    if config is not None:
        words = words[2:]
    kind, prefix = [*words, "", ""][:2]
    answer = _ANSWERS.get(kind)
    if answer is None:
        return ExitCode.USAGE
    try:
        from jobctl.client.open import Session

        with Session.open(config) as session:
            found = [word for word in answer(session) if word.startswith(prefix)]
    except (JobctlError, OSError):
        # Half a command line is no place for an error.
        return ExitCode.OK
    sys.stdout.write("".join(f"{word}\n" for word in found))
    return ExitCode.OK


def _jobs(session: Session) -> list[str]:
    return session.job_names


def _queues(session: Session) -> list[str]:
    from jobctl.client.listing import known_queues

    return known_queues(session)


def _runs(session: Session) -> list[str]:
    from jobctl.client.listing import Filter, find

    ids = [item.id for item in find(session, Filter(), most=MOST_RUNS)]
    return [*session.job_names, "@last", *ids]


_ANSWERS: dict[str, Callable[[Session], list[str]]] = {
    "jobs": _jobs,
    "queues": _queues,
    "runs": _runs,
}
