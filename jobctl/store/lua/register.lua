#!lua flags=allow-oom
--#include common
-- Registers a supervisor or updates what it says of itself.
--
-- KEYS[1]  prefix
-- ARGV     supervisor id, then names and values
-- Returns  now
local key = P .. 'sup:' .. ARGV[1]
call('SADD', P .. 'sups', ARGV[1])
call('HSET', key, 'st', 'up', 'bt', NOW, unpack(ARGV, 2))
call('HSETNX', key, 'beat', '1')
call('PERSIST', key)
return NOW
