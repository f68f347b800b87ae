#!lua
--#include common
--#include decided
-- Switches schedules off or on, or off for their next instant only. What is decided next obeys.
--
-- KEYS[1]  prefix
-- ARGV     what (off, on, once), until when in ms (off only; "" = until switched on), who, then names
-- Returns  per name: 1 when something changed, else 0
local what, till, who = ARGV[1], ARGV[2], ARGV[3]
local out = {}
-- All are looked at before the first is changed: a key of another type changes nothing.
local found = {}
for i = 4, #ARGV do found[i] = call('HMGET', P .. 's:' .. ARGV[i], 'off', 'on', 'once') end
for i = 4, #ARGV do
  local name, v = ARGV[i], found[i]
  local key = P .. 's:' .. name
  local on = tonumber(v[2] or '')
  local is_off = v[1] and (not on or NOW < on)
  local changed, told = 0, till
  if what == 'off' then
    if not is_off or (v[2] or '') ~= till then
      changed = 1
      if not is_off then call('HSET', key, 'off', NOW) end
      if till == '' then call('HDEL', key, 'on') else call('HSET', key, 'on', till) end
    end
  elseif what == 'once' then
    if not is_off and not v[3] then
      changed = 1
      call('HSET', key, 'once', NOW)
    end
  elseif is_off or v[3] then
    changed = 1
    if is_off then call('HSET', key, 'on', NOW) end
    call('HDEL', key, 'once')
  end
  if changed == 1 then note_decision(name, NOW, what, told, '', 0, who) end
  out[#out + 1] = changed
end
return out
