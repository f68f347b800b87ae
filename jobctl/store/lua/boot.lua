#!lua
--#include common
--#include group
--#include admit
--#include decided
-- Fires @reboot and @start schedules once per host and boot id (or start).
--
-- KEYS[1]  prefix
-- ARGV     schedule, host, boot id, who, "late" for a schedule that came after the start (else ""),
--          max runs or "", then the fields of GROUP and the five of a run
-- Returns  the answer of admit; "moved" when this boot was seen before; "disabled": switched off;
--          "late": it waits for the next boot; "spent": max runs reached
--
-- The overlap policy h is for these alone: skip, but only while this host's own last run goes on.
local key = P .. 's:' .. ARGV[1]
local field = 'boot:' .. ARGV[2]
local ran = 'ran:' .. ARGV[2]
local v = call('HMGET', key, field, 'off', 'on', 'once', 'fired', ran)
if v[1] == ARGV[3] then return 'moved' end
if ARGV[5] == 'late' then
  call('HSET', key, field, ARGV[3])
  lasts(ARGV[1], BOOT_FORGOTTEN)
  return 'late'
end
local on = tonumber(v[3] or '')
local is_off = v[2] and (not on or NOW < on)
if is_off or v[4] then
  call('HSET', key, field, ARGV[3])
  if not is_off then call('HDEL', key, 'once') end
  note_decision(ARGV[1], NOW, 'fire', 'disabled', '', 0, ARGV[4])
  lasts(ARGV[1], BOOT_FORGOTTEN)
  return 'disabled'
end
if ARGV[6] ~= '' and tonumber(v[5] or '0') >= tonumber(ARGV[6]) then
  call('HSET', key, field, ARGV[3])
  note_decision(ARGV[1], NOW, 'fire', 'spent', '', 0, ARGV[4])
  lasts(ARGV[1], BOOT_FORGOTTEN)
  return 'spent'
end
local g, i = read_group(7)
local n = read_new(i)
local held
if g.ov == 'h' then
  g.ov = 'f'
  if v[6] and alive(v[6]) then held = v[6] end
end
local answer = admit(g, n, true, held)
call('HSET', key, field, ARGV[3])
if answer == 'ok' then
  call('HSET', key, ran, n.id)
  call('HINCRBY', key, 'fired', 1)
end
if recorded(answer) then redis.pcall('HSET', P .. 'latest', g.job, n.id) end
note_decision(ARGV[1], NOW, 'fire', answer, n.id, 0, ARGV[4])
lasts(ARGV[1], BOOT_FORGOTTEN)
flush_counts()
return answer
