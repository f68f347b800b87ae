#!lua flags=allow-oom
--#include common
-- Marks claimed runs as started (c → r).
--
-- KEYS[1]  prefix
-- ARGV     owner id, then per run: id, epoch, attempt, started ms, pid
-- Returns  per run: ok, cancelled (a revoke came first: do not start, or stop), stale (not ours any more),
--          gone (the store lost the run)
local owner = ARGV[1]
local out = {}
for i = 2, #ARGV, 5 do
  local r = load(ARGV[i])
  if not r or r.o ~= owner or r.ep ~= ARGV[i + 1] or (r.s ~= 'c' and r.s ~= 'r') then
    out[#out + 1] = gone(ARGV[i]) and 'gone' or 'stale'
  else
    call('HSET', record(r.id), 's', 'r', 'at', ARGV[i + 2], 'st', ARGV[i + 3], 'pi', ARGV[i + 4])
    local first = call('HSETNX', record(r.id), 'fs', ARGV[i + 3]) == 1
    r.at = ARGV[i + 2]
    if r.nt then tell(tell_start, r, first) end
    out[#out + 1] = r.cx and 'cancelled' or 'ok'
  end
end
flush_counts()
return out
