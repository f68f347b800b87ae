"""Stories about ``jobctl doctor``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.acceptance.host import Host


def checks(host: Host, *words: str, code: int) -> dict[str, Any]:
    document = json.loads(host.run("doctor", "--json", *words, code=code))
    assert document["schema"] == 1
    assert document["ok"] == (code == 0)
    assert [item["number"] for item in document["checks"]] == [
        number for number, _ in enumerate(document["checks"], 1)
    ]
    return {item["name"]: item for item in document["checks"]}


def test_doctor_finds_nothing_wrong_with_a_daemon_that_runs(host: Host) -> None:
    host.write('[jobs.a]\ncommand = "true"\n')
    host.start()
    found = checks(host, code=0)

    assert "on disk before" in found["durability"]["detail"]
    assert host.name in found["daemon"]["detail"]
    assert found["daemon"]["remedy"] is None


def test_doctor_says_how_to_start_a_daemon_that_is_missing(host: Host) -> None:
    host.write("")
    found = checks(host, code=1)

    assert "jobctl daemon" in found["store"]["remedy"]


def test_doctor_points_at_a_broken_file(host: Host) -> None:
    host.write("[jobs.a]\ncomand = 1\n")
    found = checks(host, code=1)

    assert "comand" in found["configuration"]["detail"]
    assert "jobctl check" in found["configuration"]["remedy"]


def test_doctor_writes_one_line_a_check_and_remedies_below(host: Host) -> None:
    host.write("")
    done = host.call("doctor")

    assert done.returncode == 1
    assert " 1 ok      configuration:" in done.stdout
    assert "-> start it with" in done.stdout
    assert host.run("doctor", "--quiet", code=1).count("\n") == 2


def test_password_of_the_store_is_never_shown(host: Host) -> None:
    host.redis = "redis://:hunter2@127.0.0.1:1/0"
    host.write("")
    done = host.call("doctor")

    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr
