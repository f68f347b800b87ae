#!lua flags=allow-oom
--#include common
-- Gives claims back (c → q at the front, no attempt used); a revoked one ends.
--
-- KEYS[1]  prefix
-- ARGV     owner id, then per run: id, epoch
-- Returns  per run: ok, stale
local owner = ARGV[1]
local out = {}

local function release(id, epoch)
  local r = load(id)
  if not r or r.o ~= owner or (r.ep or '') ~= epoch or r.s ~= 'c' then
    if not r or r.o ~= owner or (r.s ~= 'c' and r.s ~= 'r') then redis.pcall('SREM', P .. 'own:' .. owner, id) end
    return 'stale'
  end
  if r.cx then
    finish(r, 'v', string.match(r.cx, '^%S+'))
  else
    put_back(r)
  end
  return 'ok'
end

for i = 2, #ARGV, 2 do
  out[#out + 1] = guarded(release, ARGV[i], ARGV[i + 1]) or 'stale'
end
flush_counts()
return out
