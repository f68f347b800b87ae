#!lua
--#include common
--#include admit
-- Fires @reboot and @start schedules once per host and boot id (or start).
--
-- KEYS[1]  prefix
-- ARGV     schedule, host, boot id, who, then the eleven fields of GROUP and the five of a run
-- Returns  the answer of admit, or "moved" when this boot was seen before
local key = P .. 's:' .. ARGV[1]
local field = 'boot:' .. ARGV[2]
if call('HGET', key, field) == ARGV[3] then return 'moved' end
local g, i = read_group(5)
local n = read_new(i)
local answer = admit(g, n, true)
call('HSET', key, field, ARGV[3])
if recorded(answer) then redis.pcall('HSET', P .. 'latest', g.job, n.id) end
redis.pcall('LPUSH', P .. 'sh:' .. ARGV[1], table.concat({ NOW, 'fire', answer, n.id, 0, ARGV[4] }, '|'))
redis.pcall('LTRIM', P .. 'sh:' .. ARGV[1], 0, 199)
flush_counts()
return answer
