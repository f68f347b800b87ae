#!lua
--#include common
-- Introduces schedules: a new or changed one starts from now, so it replays no past.
--
-- KEYS[1]  prefix
-- ARGV     per schedule: name, generation (a digest of rule and zone)
-- Returns  per schedule: the last decided instant in ms
local out = {}
for i = 1, #ARGV, 2 do
  local key = P .. 's:' .. ARGV[i]
  local v = call('HMGET', key, 'gen', 'last')
  if v[1] == ARGV[i + 1] and v[2] then
    out[#out + 1] = v[2]
  else
    call('HSET', key, 'gen', ARGV[i + 1], 'last', NOW)
    call('HDEL', key, 'next', 'fired')
    out[#out + 1] = tostring(NOW)
  end
end
return out
