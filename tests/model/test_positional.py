"""Commands that ignore arguments in order are told from those that use them."""

from __future__ import annotations

import pytest

from jobctl.model.job import JobDef, ParamSpec
from jobctl.model.positional import ignored


@pytest.mark.parametrize(
    "command",
    [
        "true", "echo $HOME", "cd /srv && make $TARGET", "echo $0 $$ $?", "for x in a b; do echo $x; done", "echo ${JOBCTL_ARG_NAME}", "echo {a..b}", "./run.sh",
    ],
)  # fmt: skip
def test_command_that_names_no_argument_ignores_them(command: str) -> None:
    assert '"$@" or $1' in ignored(JobDef(name="a", command=command))


@pytest.mark.parametrize(
    "command",
    [
        'echo "$@"', "echo $1", "echo ${2:-none}", "echo $*", "echo $#", "echo ${#}", "echo ${@}",
        "for x; do echo $x; done", "for x do echo; done", "for x\ndo echo; done", "true; shift",
        "tar c . | zstd > /x.tar", ". ./script", "cd /srv; . ./script", "source ./script", "eval true", "while getopts a o; do true; done",
    ],
)  # fmt: skip
def test_command_that_may_use_them_does_not(command: str) -> None:
    assert ignored(JobDef(name="a", command=command)) == ""


def test_only_texts_for_a_shell_are_judged() -> None:
    assert ignored(JobDef(name="a", command=("true",))) == ""
    assert ignored(JobDef(name="a", python="shop:sell")) == ""
    assert ignored(JobDef(name="a", command="print(1)", shell="/usr/bin/python3")) == ""
    declared = (ParamSpec(name="path"),)
    assert ignored(JobDef(name="a", command="true", params=declared)) == ""
    assert ignored(JobDef(name="a", command="true", shell="/bin/bash")) != ""
