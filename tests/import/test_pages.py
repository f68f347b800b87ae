"""The example of the how-to is what the command really writes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "migrate-from-cron.md"


def block(kind: str) -> str:
    """Return the first block of a kind on the page."""
    found = re.search(rf"(?ms)^```{kind}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"))
    assert found
    return found[1]


def test_the_example_of_the_page_is_what_an_import_writes(jobctl: Callable, tmp_path: Path):
    (tmp_path / "shop").write_text(block("crontab"), encoding="utf-8")
    done = jobctl("import", "crontab", "shop", "--system")
    assert done.code == 78
    assert done.out == block("toml")
    assert done.err == block("text")


def test_the_native_example_of_the_page_is_what_an_import_writes(jobctl: Callable, tmp_path: Path):
    (tmp_path / "shop").write_text(block("crontab"), encoding="utf-8")
    done = jobctl("import", "crontab", "shop", "--system", "--native")
    shown = (
        PAGE.read_text(encoding="utf-8")
        .partition("--native\n[jobs.shop-queue]\n")[2]
        .partition("```")[0]
    )
    assert shown
    assert f"[jobs.shop-queue]\n{shown}" in done.out
