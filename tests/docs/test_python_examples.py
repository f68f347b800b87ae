"""What the pages show of the Python API runs as it stands, on one real daemon."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import tomli_w

from tests.acceptance.host import Host
from tests.docs.pages import FENCE, NAMED, ROOT, blocks, write_modules

if TYPE_CHECKING:
    from pathlib import Path

HOW_TO = ROOT / "docs" / "how-to"
FIRST = HOW_TO / "first-examples.md"
PAGES = [FIRST, *(HOW_TO / f"migrate-from-{peer}.md" for peer in ("celery", "rq", "huey"))]
THERE = {"Celery": 5, "RQ": 14, "Dramatiq": 9, "Huey": 16, "arq": 23, "SAQ": 32, "Taskiq": 12}
"""Lines of the examples in their READMEs, without blanks, comments and docstrings."""
SECTION = re.compile(
    r"^## (\w+): (\d+) lines, here (\d+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL
)
ADDRESS = "http://localhost:8000/"


class Words(BaseHTTPRequestHandler):
    """Any page, of five words."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"one two three four five")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def merged(pages: list[Path]) -> str:
    """Return one jobs.toml of all that the pages show."""
    whole: dict[str, Any] = {"jobs": {}, "python": {"discover": []}}
    for page in pages:
        for block in blocks(page, "toml"):
            found = tomllib.loads(block.text)
            assert not whole["jobs"].keys() & found.get("jobs", {}).keys(), block.place
            whole["jobs"] |= found.get("jobs", {})
            if "python" in found:
                whole["python"]["discover"].append(found["python"]["discover"])
            assert found.keys() <= {"jobs", "python"}, block.place
    return tomli_w.dumps(whole)


def calls(page: Path) -> list[tuple[str, str]]:
    """Return the name of each program that submits, and what the page says it prints."""
    found = []
    fenced = [(info, text) for info, text in FENCE.findall(page.read_text())]
    for number, (_, text) in enumerate(fenced):
        named = NAMED.match(text)
        if named is not None and named[1].startswith("call_"):
            info, said = (*fenced[number + 1 : number + 2], ("", ""))[0]
            found.append((named[1], said if info == "text" else ""))
    return found


def test_examples_do_what_the_pages_say() -> None:
    host = Host()
    server = HTTPServer(("127.0.0.1", 0), Words)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}/"
    try:
        for page in PAGES:
            write_modules(page, host.directory)
        for path in host.directory.glob("*.py"):
            text = path.read_text().replace(ADDRESS, here).replace("_in=10)", "_in=0.1)")
            path.write_text(text.replace("# print(", "print("))
        host.write("[pools.default]\nslots = 3\n\n" + merged(PAGES))
        host.start()
        expected = {"call_words.py": "5\n"}
        for page in PAGES:
            for name, said in calls(page):
                done = subprocess.run(
                    [sys.executable, name], cwd=host.directory, env=host.environment,
                    capture_output=True, text=True, timeout=60, check=False,
                )  # fmt: skip
                assert done.returncode == 0, (name, done.stderr)
                assert done.stdout == (said.replace(ADDRESS, here) or expected.get(name, "")), name
        for job, output in (
            ("count_words", f"5 words at {here}\n"),
            ("my_sum", "AB 3\n"),
            ("download_content", f"{here}c: one two three four five...\n"),
        ):
            assert host.wait_state(job)["state"] == "succeeded"
            assert host.run("logs", job) == output
        host.run("submit", "hello", "--wait")
        assert host.run("result", "hello") == '"hello world"\n'
    finally:
        host.close()
        server.shutdown()
        server.server_close()


def test_examples_of_others_take_no_more_lines_here() -> None:
    found = {name: (int(there), int(here), text) for name, there, here, text in SECTION.findall(FIRST.read_text())}  # fmt: skip
    assert {name: there for name, (there, _, _) in found.items()} == THERE
    for name, (there, here, text) in found.items():
        lines = [
            line
            for info, block in FENCE.findall(text)
            if info in ("toml", "python")
            for line in block.splitlines()
            if line.strip() and not line.startswith("#")
        ]
        assert len(lines) == here <= there, name
