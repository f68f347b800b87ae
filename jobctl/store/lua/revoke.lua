#!lua flags=allow-oom
--#include common
-- Revokes runs (d, q, p, w → v; c, r: asks the owner).
--
-- KEYS[1]  prefix
-- ARGV     per run: its id, its order "reason signal grace kill" ("-" = the job's own) and maybe a seal
-- Returns  per run: "<letter before> <letter after>", "d v again" when it was to be tried again, or "-"
--          when there is no such run
local out = {}

local function revoke(id, order)
  local r = load(id)
  if not r then return '-' end
  local before = r.s
  if before == 'c' or before == 'r' then
    ask_to_stop(r, order)
  elseif not FINAL[before] then
    finish(r, 'v', string.match(order, '^%S+'))
  end
  return before .. ' ' .. r.s .. (before == 'd' and r.at and ' again' or '')
end

for i = 1, #ARGV, 2 do out[#out + 1] = guarded(revoke, ARGV[i], ARGV[i + 1]) or '-' end
flush_counts()
return out
