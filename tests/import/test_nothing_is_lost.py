"""Whatever a table holds: each line is a job, or is told of; and what is written checks."""

from __future__ import annotations

import random
import tomllib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FIELDS = ["*", "1", "5", "*/7", "1-5", "1,3", "*/2", "2-6/2", "07"]
ODD_FIELDS = [
    "5-1",
    "99",
    "1-2-3",
    "0~9",
    "L",
    "?",
    "*/0",
    "",
    "x/y",
    "٣",
    "5/2",
    "mon",
    "jan",
    "mon#2",
    "*5",
    "0",
]
USERS = ["root", "www-data", "a.b", "1000", "x:y/z", "/bin/x", "", "ü"]
COMMANDS = [
    "/bin/true", "[ -x /x ] && /x", "echo 'it\"s'", 'echo "a\\b"', "cat%a%b", "date +\\%F", "x\ty", "x\x07\x1b[0m", "",
    "if true; then x", "((", "echo ${a", "$(", "`", "'", '"', "x &", "flock -n l timeout 0 x", "nice -n 99 x",
    "sleep $((RANDOM % 60)) && x", "run-parts /etc/cron.daily", "é 漢字 \u202e", "x" * 3000, "timeout 99999999999d x",
    "perl -e 'sleep int(rand(0))' && x", "cd ~nobody && x", "# no", "\\", "x\r",
]  # fmt: skip
SETTINGS = [
    "A=1", "MAILTO=", 'MAILTO="a, b"', "MAILTO=a\x01b", "CRON_TZ=Nowhere/Land", "CRON_TZ=Europe/Berlin", "SHELL=",
    "RANDOM_DELAY=99999", "RANDOM_DELAY=x", "HOME=", "HOME=relative", "=x", "A B=c", "'A=1", 'PATH="', "LOGNAME=x",
]  # fmt: skip
EXTRA = [
    "@daily root x",
    "@reboot root x",
    "@never root x",
    "@0 root x",
    "@9 root x",
    "# comment",
    "   ",
    "nonsense",
    "-* * * * * root x",
]


def some_table(draw: random.Random) -> list[str]:
    def line() -> str:
        kind = draw.random()
        if kind < 0.2:
            return draw.choice(SETTINGS)
        if kind < 0.35:
            return draw.choice(EXTRA)
        fields = [draw.choice(FIELDS if draw.random() < 0.93 else ODD_FIELDS) for _ in range(5)]
        return draw.choice([" ", "\t", "  "]).join(
            [*fields, draw.choice(USERS), draw.choice(COMMANDS)]
        )

    return [line() for _ in range(draw.randint(0, 12))]


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(
    "words", [("--system",), ("--user", "--native", "--expand-run-parts"), ("--anacron",)]
)
def test_every_line_is_a_job_or_told_of_and_the_file_checks(
    seed: int, words: tuple[str, ...], jobctl: Callable, tmp_path: Path
):
    table = some_table(random.Random(seed))
    done = jobctl("import", "crontab", "-", *words, "--json", stdin="\n".join(table) + "\n")
    report = done.json
    (tmp_path / "jobs.toml").write_text(report["toml"], encoding="utf-8")

    assert done.code == (78 if report["lost"] else 0)
    assert "Traceback" not in done.err
    checked = jobctl("check", "-c", "jobs.toml")
    assert checked.code == 0, checked.err
    assert len(tomllib.loads(report["toml"]).get("jobs", {})) == len(report["jobs"])
    meant = {
        number
        for number, line in enumerate(table, start=1)
        if line.strip(" \t\r")
        and not line.lstrip().startswith("#")
        and "=" not in line.split(" ")[0]
    }
    accounted = {one["line"] for one in (*report["jobs"], *report["lost"])}
    settings = {number for number, line in enumerate(table, start=1) if line in SETTINGS}
    assert meant - settings <= accounted
