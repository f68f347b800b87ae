#!lua flags=no-writes
-- Tells how far schedules are decided, for who expects that somebody else has done it.
--
-- KEYS[1]  prefix
-- ARGV     per schedule: name, generation
-- Returns  per schedule: the last decided instant in ms; "" when another generation is in force, the
--          store does not know the schedule, or a key of another type is in its place
local out = {}
for i = 1, #ARGV, 2 do
  local v = redis.pcall('HMGET', KEYS[1] .. 's:' .. ARGV[i], 'gen', 'last')
  out[#out + 1] = v[1] == ARGV[i + 1] and v[2] or ''
end
return out
