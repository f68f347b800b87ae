"""What a configuration asks of this host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from jobctl.config.hosts import host_problems
from jobctl.model.config import Config, Settings
from jobctl.model.job import JobDef

if TYPE_CHECKING:
    from pathlib import Path

    from jobctl.config.problem import Problem


def problems(**keys: Any) -> list[Problem]:
    keys.setdefault("command", ("true",))
    if "python" in keys:
        del keys["command"]
    job = JobDef(name="a", source="/x/jobs.toml:7", **keys)
    return host_problems(Config(settings=Settings(), jobs={"a": job}))


def test_a_job_that_finds_everything_has_no_problem(tmp_path: Path) -> None:
    (tmp_path / "env").touch()

    assert problems(cwd=str(tmp_path), env_file=(str(tmp_path / "env"),)) == []
    assert problems(command="true", shell="/bin/sh") == []
    assert problems(python="a:b", interpreter="/bin/sh") == []


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        ({"cwd": "/no/where"}, "cwd", "no directory /no/where"),
        ({"env_file": ("/no/env",)}, "env_file", "no file /no/env"),
        ({"command": ("no-such-program",)}, "command", "'no-such-program'"),
        ({"command": ("/etc/passwd",)}, "command", "'/etc/passwd'"),
        ({"command": ("true",), "env": {"PATH": "/no"}}, "command", "'true'"),
        ({"command": "true", "shell": "/bin/nosh"}, "shell", "/bin/nosh"),
        ({"python": "a:b", "interpreter": "/opt/none"}, "interpreter", "/opt/none"),
        ({"python": "a:b", "interpreter": "/tmp"}, "interpreter", "/tmp/bin/python"),
        ({"python": "a:b", "interpreter": "~nobody-at-all/x"}, "interpreter", "~nobody"),
    ],
)
def test_what_is_missing_is_a_warning(keys: dict[str, Any], key: str, words: str) -> None:
    [problem] = problems(**keys)

    assert (problem.severity, problem.line, problem.key) == ("warning", 7, f"jobs.a.{key}")
    assert words in problem.message


def test_only_what_can_be_seen_from_here_is_looked_at() -> None:
    assert problems(command=("./script",)) == []
    assert problems(command=("tool",), env_file=("/dev/null",)) != []
    assert problems(command=("no-such-program",), enabled=False) == []


def test_another_user_or_group_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setattr(os, "getegid", lambda: 65534)
    monkeypatch.setattr(os, "getgroups", lambda: [65534])

    found = problems(user="root", group="root", cwd="/no/where")
    assert [(one.key, one.severity) for one in found] == [
        ("jobs.a.user", "error"), ("jobs.a.group", "error"),
    ]  # fmt: skip
    assert problems(user="nobody") == []


def test_a_user_or_group_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    found = problems(user="no-such-user", group="no-such-group")
    assert [one.message for one in found if one.code == "user"] == [
        "there is no user 'no-such-user' on this host",
        "there is no group 'no-such-group' on this host",
    ]
    assert [one for one in problems(user="0", group="0") if one.code == "user"] == []


def test_root_is_told_of_files_that_others_can_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    file = tmp_path / "jobs.toml"
    file.touch()
    file.chmod(0o666)
    config = Config(settings=Settings(), path=str(file))

    [problem] = host_problems(config)
    assert (problem.code, problem.severity) == ("writable", "warning")
    assert str(file) in problem.remedy
    file.chmod(0o644)
    assert len(host_problems(config)) == (os.stat(file).st_uid != 0)  # noqa: PTH116
