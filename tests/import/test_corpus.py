"""Crontabs as packages ship them: imported, checked, and firing when they did."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from instants import of_the_job, of_the_line

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = Path(__file__).parent / "corpus"
TABLES = sorted(path for path in CORPUS.rglob("*@*") if not path.name.endswith("anacrontab"))
ANACRONTABS = sorted(CORPUS.rglob("*@anacrontab"))
COUNT = 50


def original_lines(path: Path) -> list[list[str]]:
    """Return the words of each job line; settings have ``=`` right after their name."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return [words for words in lines if not re.match(r"[A-Z_]+=", words[0])]


def test_the_corpus_has_the_tables_of_more_than_twenty_packages():
    packages = {path.name.partition("@")[0] for path in (CORPUS / "debian").iterdir()}
    assert len(packages) >= 20


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_every_line_of_a_table_becomes_a_job_that_fires_when_cron_ran_it(
    path: Path, jobctl: Callable, tmp_path: Path
):
    kind = ["--user", "--owner", "paul"] if "@spool@" in path.name else ["--system"]
    written = tmp_path / "jobs.toml"
    done = jobctl("import", "crontab", str(path), *kind)
    written.write_text(done.out, encoding="utf-8")

    assert done.code == 0
    assert jobctl("check", "-c", str(written)).code == 0
    lines = original_lines(path)
    assert len(done.jobs) == len(lines)
    for (name, job), words in zip(done.jobs.items(), lines, strict=True):
        fields = 1 if words[0].startswith("@") else 5
        expression = " ".join(words[:fields])
        if kind == ["--system"]:
            assert job["user"] == words[fields]
        if expression == "@reboot":
            assert job["schedule"] == "@reboot"
            continue
        for zone in ("UTC", "Europe/Berlin"):
            expected = of_the_line(expression, job.get("timezone", zone), COUNT)
            assert of_the_job(job, zone, COUNT, name=name) == expected, expression


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_native_keys_change_neither_the_number_of_jobs_nor_their_instants(
    path: Path, jobctl: Callable
):
    kind = "--user" if "@spool@" in path.name else "--system"
    exact = jobctl("import", "crontab", str(path), kind).jobs
    native = jobctl("import", "crontab", str(path), kind, "--native").jobs

    assert list(native) == list(exact)
    for name, job in native.items():
        if "#1" not in job["schedule"]:
            assert job["schedule"] == exact[name]["schedule"]
        else:
            # The test on `date` that was taken off let the first week of a month through.
            every = of_the_job(exact[name], "UTC", 6 * COUNT)
            first_weeks = [at for at in every if at.day <= 7]
            assert of_the_job(job, "UTC", COUNT) == first_weeks[:COUNT]


@pytest.mark.parametrize("path", ANACRONTABS, ids=lambda path: path.name)
def test_an_anacrontab_becomes_jobs_that_are_made_up_for_once(path: Path, jobctl: Callable):
    done = jobctl("import", "crontab", str(path), "--anacron")

    assert done.code == 0
    assert list(done.jobs) == ["cron-daily", "cron-weekly", "cron-monthly"]
    assert {job["missed"] for job in done.jobs.values()} == {"once"}


def test_the_packages_of_a_corpus_are_all_listed():
    text = (CORPUS / "README.md").read_text(encoding="utf-8")
    for path in (CORPUS / "debian").iterdir():
        package, *parts = path.name.split("@")
        assert f"| {package} |" in text
        assert f"`/{'/'.join(parts)}`" in text
