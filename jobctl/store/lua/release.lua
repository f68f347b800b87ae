#!lua flags=allow-oom
--#include common
-- Gives claims back (c → q at the front, no attempt used); a revoked one ends.
--
-- KEYS[1]  prefix
-- ARGV     owner id, then per run: id, epoch
-- Returns  per run: ok, stale
local owner = ARGV[1]
local out = {}
for i = 2, #ARGV, 2 do
  local r = load(ARGV[i])
  if not r or r.o ~= owner or r.ep ~= ARGV[i + 1] or r.s ~= 'c' then
    out[#out + 1] = 'stale'
  elseif r.cx then
    finish(r, 'v', string.match(r.cx, '^%S+'))
    out[#out + 1] = 'ok'
  else
    disown(r)
    r.s = 'q'
    call('HSET', record(r.id), 's', 'q')
    free_limits(r)
    ready(r.id, r.q, r.p, true)
    out[#out + 1] = 'ok'
  end
end
flush_counts()
return out
