#!lua flags=allow-oom
--#include common
-- Revokes runs (d, q, p, w → v; c, r: asks the owner).
--
-- KEYS[1]  prefix
-- ARGV     order "reason signal grace kill" ("-" = the job's own), then ids …
-- Returns  per run: "<letter before> <letter after>", or "-" when there is no such run
local out = {}
for i = 2, #ARGV do
  local r = load(ARGV[i])
  if not r then
    out[#out + 1] = '-'
  else
    local before = r.s
    if before == 'c' or before == 'r' then
      ask_to_stop(r, ARGV[1])
    elseif not FINAL[before] then
      finish(r, 'v', string.match(ARGV[1], '^%S+'))
    end
    out[#out + 1] = before .. ' ' .. r.s
  end
end
flush_counts()
return out
