"""The comparison with other queues: what it computes, and that it measures what it says."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from benchmarks.peers import venvs
from benchmarks.peers.__main__ import main
from benchmarks.peers.measures import Extent, latencies, measure
from benchmarks.peers.participants import PARTICIPANTS
from benchmarks.peers.processes import cpu
from benchmarks.peers.profile import profile
from benchmarks.peers.stand import PeerError, Stand
from benchmarks.peers.table import lines, median, order, ratio

BY_NAME = {one.name: one for one in PARTICIPANTS}
SMALL = Extent(runs=50, slots=2, submits=5, watch=0.1, quiet=0.1)
ROUNDS = [
    {"jobctl": {"drain": 100.0}, "huey-process": {"drain": 50.0}},
    {"jobctl": {"drain": 400.0}, "huey-process": {"drain": 100.0}},
    {"jobctl": {"drain": 200.0}, "saq": {"drain": 7.0}},
]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "huey,gearman"], "no participant 'gearman'; there are jobctl, jobctl-ndjson,"),
        (["--measures", "drain,colour"], "no measure 'colour'; there are enqueue, drain,"),
        (["--runs", "0"], "0 is not above 0"),
        (["--runs", "many"], "invalid"),
        (["--profile", "huey"], "invalid choice"),
    ],
)
def test_wrong_options_are_named_and_nothing_runs(words, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_ratio_is_the_median_of_pairs_of_one_round():
    # The ratio of the medians would be 75 / 200.
    assert median(ROUNDS, "huey-process", "drain") == 75.0
    assert median(ROUNDS, "jobctl", "drain") == 200.0
    assert ratio(ROUNDS, "huey-process", "drain") == pytest.approx((0.5 + 0.25) / 2)


def test_what_was_not_measured_has_no_figure():
    assert median(ROUNDS, "arq", "drain") is None
    assert ratio(ROUNDS, "saq", "queued") is None
    assert ratio([{"saq": {"drain": 7.0}}], "saq", "drain") is None
    table = lines(ROUNDS, ["jobctl", "huey-process", "arq"])
    assert table[0].split() == ["drain"]
    assert [row.split() for row in table if row.startswith("arq")] == [["arq", "-"], ["arq", "-"]]


def test_each_participant_begins_a_round_once():
    names = ["a", "b", "c"]
    turns = [order(names, turn) for turn in range(3)]
    assert {turn[0] for turn in turns} == set(names)
    assert all(sorted(turn) == names for turn in turns)


def test_latency_belongs_to_its_own_submit():
    # The second was entered before the first.
    assert latencies([1_000_000, 2_000_000], {1: 2_500_000, 0: 4_000_000}) == [3.0, 0.5]


def test_cpu_of_ended_children_counts():
    burn = "import time\nwhile time.process_time() < 0.1: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert cpu([psutil.Process(process.pid)]) >= 0.1
        process.communicate(b"\n")


def test_a_count_that_is_wrong_is_no_figure(short_dir):
    one = BY_NAME["jobctl"]
    with Stand(one, short_dir / "s", venvs.binaries(one), slots=2, fsync="no") as stand:
        stand.submit_many(20)
        stand.start()
        stand.wait_entered()
        stand.check_count()
        stand.submitted -= 1
        with pytest.raises(PeerError, match="20 entered for 19 submitted"):
            stand.check_count()
        pids = [process.pid for process in stand.workers()]
    assert pids
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not (short_dir / "s").exists()


@pytest.mark.parametrize(
    "name",
    [
        "jobctl",
        pytest.param(
            "huey-process",
            # Without its venv there, packages are downloaded.
            marks=() if venvs.is_ready(BY_NAME["huey-process"]) else pytest.mark.slow,
        ),
    ],
)
def test_small_comparison_measures_real_workers(name, short_dir):
    one = BY_NAME[name]
    wanted = ["enqueue", "drain", "bytes", "cpu", "latency", "idle"]
    found = measure(one, short_dir / "m", venvs.binaries(one), SMALL, wanted)
    assert found.keys() == {
        "enqueue", "drain", "start", "queued", "CPU", "p50", "p99", "RSS", "PSS", "commands",
    }  # fmt: skip
    assert [name for name, value in found.items() if value <= 0 and name != "commands"] == []
    assert found["p50"] <= found["p99"]
    assert found["PSS"] <= found["RSS"]


def test_profile_splits_by_kind_of_process(short_dir, capsys):
    profile(short_dir / "p", runs=50, slots=2, rounds=1)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    figures = {
        row[0]: [float(cell) for cell in row[1:]]
        for row in rows
        if len(row) == 4 and row[0] != "CPU"
    }
    assert {"supervisor", "pool", "children", "store", "submitter", "all"} <= figures.keys()
    for kind in ("pool", "children"):
        # They stood still while runs were queued, and did all the work afterwards.
        assert figures[kind][0] == 0
        assert figures[kind][1] > 0
