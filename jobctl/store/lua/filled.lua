#!lua
--#include common
--#include decided
-- Writes down the runs that were made by hand for instants of the past.
--
-- KEYS[1]  prefix
-- ARGV     schedule, who, how many more there were that are only counted, then per run: instant ms,
--          answer (see admit.lua), run id
-- Returns  how many were written down
-- What a schedule has still to decide is not touched by it.
local name, who, more = ARGV[1], ARGV[2], tonumber(ARGV[3])
local noted = 0
for i = 4, #ARGV, 3 do
  note_decision(name, ARGV[i], 'backfill', ARGV[i + 1], ARGV[i + 2], NOW - tonumber(ARGV[i]), who)
  noted = noted + 1
end
if more > 0 and call('EXISTS', P .. 's:' .. name) == 1 then redis.pcall('HINCRBY', P .. 's:' .. name, 'cut', more) end
return noted
