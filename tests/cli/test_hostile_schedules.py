"""What ``next --schedule`` says to text that nobody means: exit 0 or 2, in printable words."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from jobctl.cli.start import start

if TYPE_CHECKING:
    from pathlib import Path

FIELD = ["*", "0", "5", "59", "60", "/", "-", ",", "L", "W", "#", "H", "~", "(", ")", "?", "jan",
         "mon", "FRI", "1-5", "*/2", "7", "12", "5L", "fri#2"]  # fmt: skip
WILD = [*FIELD, " ", "@", "@every ", "@at ", "@daily", "2021-06-01T12:00:00", "Z", "+01:00", "1h",
        "\x1b[2J", "\x00", "\x7f", "\u0663", "\ud800", "\n", "\t", "é", "\u202e", "999999999999", "%"]  # fmt: skip
KNOWN = [
    "@at 2021-06-01T12:00:00\x1b[2:00",
    "@every \x1b[2J",
    "@every 1h\x1b[2J",
    "@\x1b[2J",
    "\x1b[2J * * * *",
    "0 0 * * \x9b2J",
    "0 0 * * mon\x7f",
    "\ud800 * * * *",
    "@daily\u202e",
    "9" * 5000 + " * * * *",
    "@every " + "9" * 5000,
    "@at " + "9" * 5000,
    "@" * 5000,
    "1," * 480 + "1 * * * *",
    "",
    " ",
    "\n",
]


def hostile(seed: int) -> list[str]:
    rng = random.Random(seed)
    fields = [
        " ".join("".join(rng.choices(FIELD, k=rng.choice([1, 1, 2, 3]))) for _ in range(count))
        for count in rng.choices([5, 5, 5, 6, 4, 7], k=150)
    ]
    return fields + ["".join(rng.choices(WILD, k=rng.randint(1, 12))) for _ in range(150)]


@pytest.mark.parametrize(
    "texts", [KNOWN, hostile(1), hostile(2)], ids=["known", "random", "more random"]
)
def test_any_text_is_taken_or_refused_in_printable_words(
    texts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    for text in texts:
        for more in ([], ["--json"]):
            words = ["next", f"--schedule={text}", "--timezone", "UTC", "-n", "2", *more]
            code = start(words)
            out, err = capsys.readouterr()
            assert code in (0, 2), (text, err)
            assert all(char.isprintable() or char == "\n" for char in out + err), (text, err)
            assert "this is a bug" not in err, text
            assert len(err) < 20_000, text
            if more:
                document = json.loads(err if code else out)
                assert ("error" in document) == bool(code), text
