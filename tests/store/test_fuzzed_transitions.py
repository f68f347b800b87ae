"""Random programmes of supervisors, submitters and faults; afterwards the store must be consistent.

``JOBCTL_FUZZ_SECONDS`` is how long to go on (5), ``JOBCTL_FUZZ_SEED`` the first seed (random).
For long runs there is ``python -m tests.fuzz``.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

from tests.fuzz.programme import Programme

if TYPE_CHECKING:
    from jobctl.store.blocking import BlockingStore

SECONDS = float(os.environ.get("JOBCTL_FUZZ_SECONDS", "5"))


def test_no_programme_of_faults_breaks_an_invariant(store: BlockingStore) -> None:
    seed = int(os.environ.get("JOBCTL_FUZZ_SEED", random.randrange(10**9)))
    end = time.monotonic() + SECONDS
    while True:
        try:
            Programme(store, seed).go()
        except BaseException as error:
            error.add_note(f"JOBCTL_FUZZ_SEED={seed}")
            raise
        seed += 1
        if time.monotonic() > end:
            return
