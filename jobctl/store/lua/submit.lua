#!lua
--#include common
--#include admit
-- Accepts new runs (- → q, d or s), in groups that share their job's settings.
--
-- KEYS[1]  prefix
-- ARGV     per group: the eleven fields of GROUP, the number of runs, then five fields per run
-- Returns  one answer per run, in order (see admit.lua); all of a full queue's runs are refused.
-- A repeat answers "dup" for what the first call accepted: it is idempotent.
local answers = {}
local i = 1
while i <= #ARGV do
  local g
  g, i = read_group(i)
  local runs = tonumber(ARGV[i])
  i = i + 1
  local latest
  for _ = 1, runs do
    local n
    n, i = read_new(i)
    local answer = admit(g, n, false)
    if recorded(answer) then latest = n.id end
    answers[#answers + 1] = answer
  end
  if latest then redis.pcall('HSET', P .. 'latest', g.job, latest, '@last', latest) end
end
flush_counts()
return answers
