#!lua
--#include common
--#include group
--#include admit
--#include decided
-- Decides one scheduled instant, once however many supervisors try (- → q, d or s).
--
-- KEYS[1]  prefix
-- ARGV     schedule, generation, previous instant ms, this instant ms, next instant ms or "",
--          kind (fire, late, catchup, missed), who, max runs or "", how many older missed instants
--          are only counted (or ""), and for all kinds but missed: the fields of GROUP and the
--          five of a run; for missed maybe the job and its nt, when somebody is to be told
-- Returns  {answer, last}: ok, skip …, dup …, unique …, full, missed, disabled (switched off), spent
--          (max runs reached); or moved (another supervisor decided it), foreign (another
--          generation of the schedule is in force), off (a host whose jobs.toml has it switched off, or
--          has it no more, has said so since), gone (the store does not know it), early (the store's clock is behind)
local EARLY = 250
-- A clock that was set back further than this is believed, and what was decided by it is not.
local CORRECTION = 10800000
local name, generation, previous, instant = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local key = P .. 's:' .. name
local v = call('HMGET', key, 'gen', 'last', 'fired', 'off', 'on', 'once', 'spent')
if v[1] ~= generation then
  if not v[1] then return { 'gone', '' } end
  local marked = v[1] == generation .. '!off' or v[1] == generation .. '!gone'
  return { marked and 'off' or 'foreign', v[2] or '' }
end
if v[2] ~= previous then return { 'moved', v[2] or '' } end
local last = tonumber(v[2])
if instant <= last and last <= NOW + CORRECTION then return { 'moved', v[2] } end
if instant > NOW + EARLY then return { 'early', v[2] } end
local kind = ARGV[6]

-- Tells why an instant makes no run whose schedule is or was switched off.
-- Off is from `off` until before `on`, or until it is switched on; being off is not being down, so
-- nothing before it is made up for either.
local function barred()
  local off, on = tonumber(v[4] or ''), tonumber(v[5] or '')
  if off and instant >= off and (not on or instant < on) then return 'disabled' end
  if kind == 'missed' or not off then return nil end
  if not on or NOW < on then return 'disabled' end
  if kind == 'catchup' and instant < on then return 'missed' end
end

local answer, id = barred(), ''
if not answer and v[6] and instant >= tonumber(v[6]) then
  answer = 'disabled'
  call('HDEL', key, 'once')
end
-- What has used up its runs misses nothing. That is told once, not for each instant from then on.
local spent = ARGV[8] ~= '' and tonumber(v[3] or '0') >= tonumber(ARGV[8])
if not answer and spent then answer = 'spent' end
if not answer and kind == 'missed' then answer = 'missed' end
if not answer then
  local g, i = read_group(10)
  local n = read_new(i)
  id = n.id
  answer = admit(g, n, true)
  if recorded(answer) then redis.pcall('HSET', P .. 'latest', g.job, n.id) end
  if answer == 'ok' then call('HINCRBY', key, 'fired', 1) end
end
call('HSET', key, 'last', instant, 'next', ARGV[5])
if ARGV[9] ~= '' then call('HINCRBY', key, 'cut', ARGV[9]) end
if v[7] and not spent then call('HDEL', key, 'spent') end
if answer ~= 'spent' or call('HSETNX', key, 'spent', instant) == 1 then
  note_decision(name, instant, kind, answer, id, NOW - instant, ARGV[7])
else
  lasts(name)
end
if kind == 'missed' and answer == 'missed' and ARGV[11] then tell(tell_missed, ARGV[10], ARGV[11], instant) end
count('ticks')
flush_counts()
return { answer, tostring(instant) }
