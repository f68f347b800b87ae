#!lua
--#include common
--#include decided
-- Introduces schedules: a new or changed one starts from now, so it replays no past.
--
-- KEYS[1]  prefix
-- ARGV     per schedule: name, generation (a digest of rule and zone, with "!off" while it is
--          switched off in jobs.toml), the last decided instant ms if the caller knows it, else "".
--          The latter counts when the store knows nothing at all of the schedule.
-- Returns  per schedule: the last decided instant in ms, "" where a key of another type is in its place
local out = {}
for i = 1, #ARGV, 3 do
  local name, generation, known = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local key = P .. 's:' .. name
  local v = redis.pcall('HMGET', key, 'gen', 'last')
  if v.err then
    out[#out + 1] = ''
  elseif v[1] == generation and v[2] then
    out[#out + 1] = v[2]
    lasts(name)
  else
    local last = not v[1] and known and math.min(known, NOW) or NOW
    call('HSET', key, 'gen', generation, 'last', last)
    call('HDEL', key, 'next')
    -- Whatever is changed of it, it is the same schedule, which may have used up its runs; but not
    -- one that was removed.
    if v[1] and string.find(v[1], '!gone', 1, true) then call('HDEL', key, 'fired', 'spent') end
    if v[1] then note_decision(name, NOW, 'changed', 'restart', '', 0, '') end
    lasts(name)
    out[#out + 1] = tostring(last)
  end
end
return out
