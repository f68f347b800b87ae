#!lua
--#include common
--#include decided
-- Takes note that schedules have left jobs.toml: should one come back it starts from then.
--
-- KEYS[1]  prefix
-- ARGV     per schedule: name, generation as it was introduced
-- Returns  how many were retired; one that another generation is in force of is left alone
local MONTH = 2592000000
local retired = 0
for i = 1, #ARGV, 2 do
  local name, key = ARGV[i], P .. 's:' .. ARGV[i]
  if redis.pcall('HGET', key, 'gen') == ARGV[i + 1] then
    retired = retired + 1
    call('HSET', key, 'gen', ARGV[i + 1] .. '!gone')
    call('HDEL', key, 'next')
    note_decision(name, NOW, 'removed', '', '', 0, '')
    lasts(name, MONTH)
  end
end
return retired
