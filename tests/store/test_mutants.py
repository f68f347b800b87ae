"""The list of mutants fits the Lua text: whoever changes a guard changes the mutant with it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from jobctl.store import scripts
from jobctl.store.calls import Call
from tests.mutation.listed import MUTANTS
from tests.mutation.mutant import text_of
from tests.mutation.trial import mutated

if TYPE_CHECKING:
    from jobctl.store.blocking import BlockingStore


def test_every_mutant_changes_the_text_it_is_for() -> None:
    misfits = []
    for mutant in MUTANTS:
        text = text_of(mutant.part)
        try:
            assert mutant.apply(text) != text, f"{mutant.name} changes nothing"
        except (ValueError, AssertionError) as error:
            misfits.append(str(error))
    assert misfits == []


def test_every_mutant_has_a_name_of_its_own() -> None:
    names = Counter(mutant.name for mutant in MUTANTS)
    assert [name for name, times in names.items() if times > 1] == []


def test_every_script_has_mutants() -> None:
    assert set(scripts.names()) <= {mutant.part for mutant in MUTANTS}


def test_every_mutant_is_lua(store: BlockingStore) -> None:
    for mutant in MUTANTS:
        host = mutant.part if mutant.part in scripts.names() else "submit"
        with mutated(mutant):
            source = scripts.script(host).source
        call = Call(("SCRIPT", "LOAD", source), lambda reply: reply)
        assert store.run(call), mutant.name
