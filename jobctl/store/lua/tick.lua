#!lua
--#include common
--#include admit
-- Decides one scheduled instant, once however many supervisors try (- → q, d or s).
--
-- KEYS[1]  prefix
-- ARGV     schedule, generation, previous instant ms, this instant ms, next instant ms or "",
--          kind (fire, late, catchup, missed), who, max runs or "", and for all kinds but missed:
--          the eleven fields of GROUP and the five of a run
-- Returns  {answer, last}: ok, skip …, dup …, unique …, full, missed; or moved (another
--          supervisor decided it), foreign (another generation of the schedule is in force), early (the store's clock is behind), spent (max runs reached)
local EARLY = 250
local name, generation, previous, instant = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local key = P .. 's:' .. name
local v = call('HMGET', key, 'gen', 'last', 'fired')
if v[1] ~= generation then return { 'foreign', v[2] or '' } end
if v[2] ~= previous or instant <= tonumber(v[2]) then return { 'moved', v[2] or '' } end
if instant > NOW + EARLY then return { 'early', v[2] } end
local kind, answer, id = ARGV[6], 'missed', ''
if kind ~= 'missed' then
  if ARGV[8] ~= '' and tonumber(v[3] or '0') >= tonumber(ARGV[8]) then
    answer = 'spent'
  else
    local g, i = read_group(9)
    local n = read_new(i)
    id = n.id
    answer = admit(g, n, true)
    if recorded(answer) then redis.pcall('HSET', P .. 'latest', g.job, n.id) end
    if answer == 'ok' then call('HINCRBY', key, 'fired', 1) end
  end
end
call('HSET', key, 'last', instant, 'next', ARGV[5])
redis.pcall('LPUSH', P .. 'sh:' .. name, table.concat({ instant, kind, answer, id, NOW - instant, ARGV[7] }, '|'))
redis.pcall('LTRIM', P .. 'sh:' .. name, 0, 199)
count('ticks')
flush_counts()
return { answer, tostring(instant) }
