"""What the import takes and refuses, against the parser of Debian's own ``crontab -n``.

Downloads one package with the host's apt: run with ``-m packages``, as root.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from jobctl.client.migrate.cron_laws import CronLawError, translate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.packages, pytest.mark.timeout(300)]

COUNT = 2000
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
NAMES = ((), (), (), ("jan", "Feb", "dec", "mon"), ("sun", "MON", "Tue", "fri", "jan"))
STEP_WITHOUT_RANGE = re.compile(r"(?:^|[ ,])\w+/")
"""FreeBSD takes this, and so does the import; Debian's cron does not."""
CHECK = """
mount -t tmpfs none /var/spool && mkdir -p /var/spool/cron
i=0
while read -r line; do
    printf '%s true\\n' "$line" > table
    if ./x/usr/bin/crontab -n table > /dev/null 2>&1 < /dev/null; then echo y; else echo n; fi
done < lines
"""


def some_term(draw: random.Random, field: int) -> str:
    low, high = BOUNDS[field]

    def value() -> str:
        number = draw.randint(max(low - 1, 0), high + 1)
        return draw.choice([f"{number}", f"0{number}", *NAMES[field]])

    step = draw.randint(0, 40)
    return draw.choice(
        ["*", f"*/{step}", value(), f"{value()}-{value()}", f"{value()}-{value()}/{step}", f"*{step}", "?", "L", "-5",
         f"{value()}/{step}", value() + draw.choice(["x", "#2", "L", "-", "-1-2", "_0", "?"])]
    )  # fmt: skip


def some_line(draw: random.Random) -> str:
    field = draw.randrange(5)
    fields = ["*"] * 5
    fields[field] = ",".join(some_term(draw, field) for _ in range(draw.choice([1, 1, 2])))
    return " ".join(fields)


@pytest.fixture(scope="module")
def cron(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack Debian's cron."""
    if "packages" not in request.config.option.markexpr:
        pytest.skip("uses the network: run with -m packages")
    if os.geteuid():
        pytest.skip("needs a mount namespace, so root")
    place = tmp_path_factory.mktemp("cron")
    place.chmod(0o755)
    fetched = subprocess.run(
        ["apt-get", "-qq", "download", "cron"], cwd=place, check=False, capture_output=True
    )
    packages = list(place.glob("cron_*.deb"))
    if fetched.returncode or not packages:
        pytest.skip("apt has no package cron here")
    subprocess.run(["dpkg-deb", "-x", packages[0], "x"], cwd=place, check=True)
    return place


def test_the_import_takes_the_lines_that_debian_s_cron_takes(cron: Path):
    draw = random.Random(7)
    lines = [line for line in (some_line(draw) for _ in range(COUNT)) if not line.startswith("-")]
    (cron / "lines").write_text("\n".join(lines) + "\n", encoding="utf-8")
    checked = subprocess.run(
        ["unshare", "--mount", "sh", "-c", CHECK],
        cwd=cron,
        capture_output=True,
        text=True,
        check=True,
    )

    wrong = []
    for line, answer in zip(lines, checked.stdout.split(), strict=True):
        try:
            translate(line.split())
            ours = "y"
        except CronLawError:
            ours = "n"
        if ours != answer and not (ours == "y" and STEP_WITHOUT_RANGE.search(line)):
            wrong.append(f"{line}: {ours}, Debian {answer}")
    assert set(checked.stdout.split()) == {"y", "n"}
    assert wrong == []
