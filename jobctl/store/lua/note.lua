#!lua flags=allow-oom
--#include common
-- Stores the progress of running runs.
--
-- KEYS[1]  prefix
-- ARGV     owner id, then per run: id, epoch, progress
-- Returns  how many were stored
local owner, stored = ARGV[1], 0
for i = 2, #ARGV, 3 do
  local v = redis.pcall('HMGET', record(ARGV[i]), 'o', 'ep', 's')
  if v[1] == owner and v[2] == ARGV[i + 1] and (v[3] == 'c' or v[3] == 'r') then
    call('HSET', record(ARGV[i]), 'pg', ARGV[i + 2])
    stored = stored + 1
  end
end
return stored
