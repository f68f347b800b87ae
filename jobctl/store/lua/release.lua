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
  local answer = 'ok'
  if not r or r.o ~= owner or (r.ep or '') ~= ARGV[i + 1] or r.s ~= 'c' then
    if not r or r.o ~= owner or (r.s ~= 'c' and r.s ~= 'r') then call('SREM', P .. 'own:' .. owner, ARGV[i]) end
    answer = 'stale'
  elseif r.cx then
    finish(r, 'v', string.match(r.cx, '^%S+'))
  else
    put_back(r)
  end
  out[i / 2] = answer
end
flush_counts()
return out
