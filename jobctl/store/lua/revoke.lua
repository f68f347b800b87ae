#!lua flags=allow-oom
--#include common
-- Revokes runs (d, q, p, w → v; c, r: asks the owner).
--
-- KEYS[1]  prefix
-- ARGV     per run: its id, its order "reason signal grace kill" ("-" = the job's own) and maybe a seal
-- Returns  per run: "<letter before> <letter after>", or "-" when there is no such run
local out = {}
for i = 1, #ARGV, 2 do
  local r = load(ARGV[i])
  if not r then
    out[#out + 1] = '-'
  else
    local before = r.s
    if before == 'c' or before == 'r' then
      ask_to_stop(r, ARGV[i + 1])
    elseif not FINAL[before] then
      finish(r, 'v', string.match(ARGV[i + 1], '^%S+'))
    end
    out[#out + 1] = before .. ' ' .. r.s
  end
end
flush_counts()
return out
