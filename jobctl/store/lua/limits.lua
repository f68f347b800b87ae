#!lua flags=allow-oom
--#include common
-- Sets the sizes of limits and lets parked runs use what was added.
--
-- KEYS[1]  prefix
-- ARGV     names and values; an empty value removes the limit
-- Returns  how many changed
local changed = 0
for i = 1, #ARGV, 2 do
  local old = call('HGET', P .. 'lim', ARGV[i]) or ''
  if old ~= ARGV[i + 1] then
    changed = changed + 1
    if ARGV[i + 1] == '' then call('HDEL', P .. 'lim', ARGV[i]) else call('HSET', P .. 'lim', ARGV[i], ARGV[i + 1]) end
    try_wake(ARGV[i])
  end
end
return changed
