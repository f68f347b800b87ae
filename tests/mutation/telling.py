"""Mutants of what writes notices and hands them out."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

NOTICES = [
    Mutant("notices", "a notice is written", "call('RPUSH', P .. place, cjson.encode(more))", "local _"),
    Mutant("notices", "a notice rings", "  ring('@' .. place)\n", ""),
    Mutant("notices", "who had the run tells of it", "== 'up' and 'out:' .. sid or 'out'", "== 'up' and 'out' or 'out'"),
    Mutant("notices", "who is gone tells nothing", "redis.pcall('HGET', P .. 'sup:' .. sid, 'st') == 'up' and", "true and"),
    Mutant("notices", "an outbox is bounded", "call('LLEN', P .. place) >= OUT_MOST", "false"),
    Mutant("notices", "notices have numbers", "call('HINCRBY', P .. 'n', 'notices', 1)", "1"),
    Mutant("notices", "the reason is told", "if reason and reason ~= '' then more.rs = reason end", ""),
    Mutant("notices", "the exit code is told", "rc = true, ", ""),
    Mutant("notices", "errors are cut", "1, ERROR_MOST)", "1, -1)"),
    Mutant("notices", "failures are counted", "more.n = call('HINCRBY', key, 'n', 1)", "more.n = 1"),
    Mutant("notices", "when it began to fail", "if more.n == 1 then call('HSET', key, 'since', NOW) end", "call('HSET', key, 'since', NOW)"),
    Mutant("notices", "the memory of failures expires", "call('PEXPIRE', key, REMEMBER)\n  if not every", "if not every"),
    Mutant("notices", "the memory of late runs expires", "call('PEXPIRE', key, REMEMBER)\n  post('l'", "post('l'"),
    Mutant("notices", "mails come once in a while", "if told and NOW < told + every then", "if false then"),
    Mutant("notices", "the while ends", "NOW < told + every", "NOW"),
    Mutant("notices", "what is held back is counted", "call('HINCRBY', key, 'quiet', 1)", ""),
    Mutant("notices", "what is held back is told later", "due_at('~' .. r.j, told + every)", ""),
    Mutant("notices", "a mail begins the while", "call('HSET', key, 'told', NOW, 'alert', 1)", "call('HSET', key, 'alert', 1)"),
    Mutant("notices", "a mailed failure makes recovery news", "call('HSET', key, 'told', NOW, 'alert', 1)", "call('HSET', key, 'told', NOW)"),
    Mutant("notices", "what was held back is told once", "call('HDEL', key, 'quiet', 'last', 'nt')\n    call('ZREM'", "call('ZREM'"),
    Mutant("notices", "recovery after no failure is no news", "if n == 0 then return end", ""),
    Mutant("notices", "recovery is mailed when a failure was", "if v[3] then more.m = 1 end", "more.m = 1"),
    Mutant("notices", "a success ends the row", "call('HDEL', key, 'n', 'since', 'alert')", ""),
    Mutant("notices", "expired runs are failures", "if letter == 'x' or letter == 'e' then", "if letter == 'x' then"),
    Mutant("notices", "only success ends a row", "if letter == 'k' then worked(r, more) end", "if letter ~= 'x' then worked(r, more) end"),
    Mutant("notices", "an ended run is not late", "if setting(r, 'l') then call('ZREM', P .. 'due', '?' .. r.id) end\n  if more.m", "if more.m"),
    Mutant("notices", "only what is wanted is told", "if more.m or wanted(r, letter) then post", "if true then post"),
    Mutant("notices", "a run ends whatever the outbox is", "if not pcall(action, ...) then count('untold') end", "action(...)"),
    Mutant("notices", "what could not be told is counted", "pcall(action, ...) then count('untold') end", "pcall(action, ...) then end"),
    Mutant("notices", "the first start is told once", "if first and wanted(r, 'r')", "if wanted(r, 'r')"),
    Mutant("notices", "a run that succeeded at once was started", "if letter == 'k' and (fields[1] == 'a1' or fields[3] == 'a1') then fields = { 'fs' } end\n", ""),
    Mutant("notices", "so was one with an exit code other than 0", "(fields[1] == 'a1' or fields[3] == 'a1')", "(fields[1] == 'a1')"),
    Mutant("notices", "what is not said of it is known", "fields and fields[1] == 'a1' and { at = '1', rc = '0' } or {}", "{}"),
    Mutant("notices", "a started run is not late", "if setting(r, 'l') then call('ZREM', P .. 'due', '?' .. r.id) end\nend\n\n-- The start of a short run", "end\n\n-- The start of a short run"),
    Mutant("notices", "another attempt is told", "if wanted(r, 'd') then post", "if false then post"),
    Mutant("notices", "nothing was held back", "if quiet == 0 or not v[2] then return end", ""),
    Mutant("notices", "late runs are told once in a while", "if told and NOW < told + (setting(r, 'm') or LATE_EVERY) then", "if false then"),
    Mutant("notices", "late runs that are not told are counted", "call('HINCRBY', key, 'lq', 1)", ""),
    Mutant("notices", "late runs that were told are counted no more", "call('HDEL', key, 'lq')", ""),
    Mutant("notices", "a missed instant is told", "post('m', { id = '', j = job, nt = nt }, { due = instant })", ""),
    Mutant("notices", "the dead hand their notices on", "if type(redis.pcall('LMOVE', from, P .. 'out', 'LEFT', 'RIGHT')) ~= 'string' then break end", "if true then break end"),
    Mutant("notices", "handing on is bounded", "while moved < most do", "while true do"),
    Mutant("notices", "handing on rings", "if moved > 0 then ring('@out') end", ""),
    Mutant("notices", "what is left is told", "return call('LLEN', from)\n", "return 0\n"),
]  # fmt: skip

OUTBOX = [
    Mutant("outbox", "who is fenced gets nothing", "if call('HGET', P .. 'sup:' .. supervisor, 'st') ~= 'up' then return { -1 } end", ""),
    Mutant("outbox", "what is delivered is gone", "if call('LREM', own, 1, passed or ARGV[i]) > 0 and passed then", "if passed then"),
    Mutant("outbox", "what is another's is not passed on", "call('LREM', own, 1, passed or ARGV[i]) > 0 and passed", "call('LREM', own, 1, passed or ARGV[i]) >= 0 and passed"),
    Mutant("outbox", "what is passed on is for anybody", "call('RPUSH', P .. 'out', passed)", "local _"),
    Mutant("outbox", "a part is taken", "for _ = 1, most do", "while true do"),
    Mutant("outbox", "what is left rings", "if call('EXISTS', P .. 'out') == 1 then ring('@out')", "if false then ring('@out')"),
    Mutant("outbox", "nothing left rings not", "else call('DEL', P .. 'b:@out') end", "end"),
    Mutant("outbox", "who takes nothing leaves the bell", "if most > 0 then", "if true then"),
    Mutant("outbox", "a part is told", "call('LRANGE', own, 0, told - 1)", "call('LRANGE', own, 0, -1)"),
]  # fmt: skip

MUTANTS = [*NOTICES, *OUTBOX]
