"""Guards of what mends a namespace."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

MUTANTS = [
    Mutant(
        "repair", "a living owner keeps a claim without an epoch",
        "if r.o and living(r.o) then return", "if false then return",
    ),
    Mutant(
        "repair", "an owner is named again only if its set has the run",
        "and call('SISMEMBER', P .. 'own:' .. holder, r.id) == 1 then", "then",
    ),
    Mutant(
        "repair", "whoever gets a claim back is on the lists",
        "if enlist(r.o) then add('listed its owner') end", "",
    ),
    Mutant(
        "repair", "a list is searched before an entry is put into it",
        "local found = believed and {} or call('LPOS', list, id, 'COUNT', 2)", "local found = {}",
    ),
    Mutant(
        "repair", "a second entry is taken out",
        "while #found > 1 do", "while false do",
    ),
    Mutant(
        "repair", "a run stays parked only for a limit it needs",
        "if not r.pl or not", "if false and not",
    ),
    Mutant(
        "repair", "parked runs are looked at",
        "due_at('!' .. r.pl, NOW)", "",
    ),
    Mutant(
        "repair", "an ended run is not put into a container",
        "    return nil\n  end\n  if call('PERSIST'", "  end\n  if call('PERSIST'",
        same="containers exist for states that are not final, and an ended run holds nothing any more",
    ),
    Mutant(
        "repair", "only runs in hand hold limits",
        "call(claimed and 'SADD' or 'SREM', P .. 'c:' .. limit, r.id)",
        "call('SADD', P .. 'c:' .. limit, r.id)",
    ),
    Mutant(
        "repair", "a lock is not taken from a living holder",
        "if other and redis.pcall('HGET', record(holder), 'uq') == r.uq then", "if false then",
    ),
    Mutant(
        "repair", "a freed slot goes to whoever waits",
        "  try_wake(limit)\n  return 'freed the slot'", "  return 'freed the slot'",
    ),
    Mutant(
        "repair", "a claim that is in force stays in its owner's set",
        "if (r.s == 'c' or r.s == 'r') and r.o == owner then return '' end", "",
    ),
    Mutant(
        "repair", "a run that is due stays in the timetable",
        "if not expiry and facts(id).s == 'd' then return '' end", "",
    ),
    Mutant(
        "repair", "the expiry of a run that is there stays",
        "if expiry and call('TYPE', record(id)).ok == 'hash' then return '' end", "",
    ),
    Mutant(
        "repair", "a holder in hand keeps its slot",
        "if (r.s == 'c' or r.s == 'r') and has_limit(r, limit) then return '' end", "",
    ),
    Mutant(
        "repair", "an unfinished run keeps its place among its job's",
        "if alive(id) and facts(id).j == job then return '' end", "",
    ),
    Mutant(
        "repair", "only an ended run goes into a history",
        "if not ended or call('LPOS', P .. own, id) then return '' end",
        "if call('LPOS', P .. own, id) then return '' end",
    ),
    Mutant(
        "repair", "one entry stays in a history",
        "if keep then kept, times = true, times - 1 end", "",
        same="it is put back at once when none was kept",
    ),
    Mutant(
        "repair", "output that expires keeps its time",
        "if call('PTTL', P .. 'l:' .. id) ~= -1 then return '' end", "",
    ),
    Mutant(
        "repair", "a key of the right type is not put aside",
        "if kind == wanted or kind == 'none' then return '' end", "",
    ),
    Mutant(
        "repair", "the mailbox of a known supervisor stays",
        "if call('EXISTS', P .. 'sup:' .. sid) == 1 or call('SISMEMBER', P .. 'sups', sid) == 1 then return '' end",
        "",
    ),
    Mutant(
        "repair", "a lock that is in force stays",
        "if not holder or (alive(holder) and facts(holder).uq == digest) then return '' end", "",
    ),
    Mutant(
        "repair", "a step that fails does not stop the others",
        "local ok, answer = pcall(MEND[ARGV[i + 1]], unpack(ARGV, i + 2, i + size))",
        "local ok, answer = true, MEND[ARGV[i + 1]](unpack(ARGV, i + 2, i + size))",
    ),
]  # fmt: skip
