"""The comments of ``examples/debian-server.toml`` against the packages of the Debian archive.

Without this the example would rot silently: a package that changes a line, drops its cron file or
gains a job makes a test fail. Run with ``-m packages``; downloads about 50 MB with the host's apt,
into a scratch directory and with a package index of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from debian_world import origins

pytestmark = [pytest.mark.packages, pytest.mark.timeout(600)]

PERIODS = ("hourly", "daily", "weekly", "monthly")


def bookworm_sources() -> str:
    """Return the host's own entries for Debian 12, with ``contrib`` for zfsutils-linux."""
    files = sorted(Path("/etc/apt/sources.list.d").glob("*.sources"))
    stanzas = [s for file in files for s in re.split(r"\n\s*\n", file.read_text(encoding="utf-8"))]
    suite = re.compile(r"(?m)^Suites:.*[ :]bookworm(-updates|-security)?\b")
    components = re.compile(r"(?m)^Components:.*")
    return "\n\n".join(
        components.sub("Components: main contrib", stanza)
        for stanza in stanzas
        if suite.search(stanza)
    )


@pytest.fixture(scope="module")
def packages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Download the packages of the example with apt, and unpack files and maintainer scripts."""
    if "packages" not in request.config.option.markexpr:
        pytest.skip("uses the network: run with -m packages")
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=False
    )
    sources = bookworm_sources()
    if not sources or architecture.stdout.strip() != "amd64":
        pytest.skip("needs Debian 12 on amd64 with its package index")
    base = tmp_path_factory.mktemp("packages")
    for directory in ("lists/partial", "cache/archives/partial", "debs"):
        (base / directory).mkdir(parents=True)
    (base / "debian.sources").write_text(sources + "\n", encoding="utf-8")
    options = [
        f"Dir::Etc::SourceList={base}/debian.sources", "Dir::Etc::SourceParts=/dev/null",
        f"Dir::State::Lists={base}/lists", f"Dir::Cache={base}/cache",
        f"APT::Sandbox::User={'root' if os.geteuid() == 0 else ''}",
    ]  # fmt: skip
    flags = [flag for option in options for flag in ("-o", option)]
    names = sorted({origin.package for origin in origins().values()})
    for command in (["update"], ["download", *names]):
        subprocess.run(
            ["apt-get", "-qq", *flags, *command], cwd=base / "debs", check=True, capture_output=True
        )
    for deb in (base / "debs").glob("*.deb"):
        unpacked = base / deb.name.split("_")[0]
        subprocess.run(["dpkg-deb", "-x", deb, unpacked], check=True)
        subprocess.run(["dpkg-deb", "-e", deb, unpacked / "DEBIAN"], check=True)
    return base


def live_lines(file: Path) -> set[str]:
    """Return a crontab's job lines, blanks run together."""
    texts = [" ".join(text.split()) for text in file.read_text(encoding="utf-8").splitlines()]
    return {text for text in texts if text and not re.match(r"#|[A-Za-z_]+ ?=", text)}


def test_comments_say_what_the_packages_install(packages: Path) -> None:
    for name, origin in origins().items():
        root = packages / origin.package
        file = root / "DEBIAN" / "postinst" if origin.generated else root / origin.path.lstrip("/")
        assert file.is_file(), f"{name}: {origin.package} has no {origin.path}"
        if origin.line is None:
            assert os.access(file, os.X_OK), name
        else:
            texts = file.read_text(encoding="utf-8").splitlines()
            assert origin.line in {" ".join(text.split()) for text in texts}, name
        for unit, settings in origin.timers:
            text = (root / "lib/systemd/system" / unit).read_text(encoding="utf-8")
            found = [" ".join(line.split()) for line in text.splitlines() if line.startswith("On")]
            assert " ".join(found) == settings, unit


def test_example_leaves_out_no_line_of_its_packages(packages: Path) -> None:
    known = {(o.package, o.line or o.path) for o in origins().values()}
    missing = []
    for package in sorted({package for package, _ in known}):
        etc = packages / package / "etc"
        lines = [
            line
            for file in (*etc.glob("cron.d/[!.]*"), *etc.glob("crontab"))
            for line in live_lines(file)
        ]
        scripts = [
            f"/etc/{script.parent.name}/{script.name}"
            for period in PERIODS
            for script in etc.glob(f"cron.{period}/[!.]*")
        ]
        missing += [(package, text) for text in lines + scripts if (package, text) not in known]
    assert missing == []
