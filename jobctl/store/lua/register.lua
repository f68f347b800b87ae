#!lua flags=allow-oom
--#include common
-- Registers a supervisor or updates what it says of itself.
--
-- KEYS[1]  prefix
-- ARGV     supervisor id, then names and values
-- Returns  now, or -1 when it was declared lost: take a new id
local key = P .. 'sup:' .. ARGV[1]
if call('HGET', key, 'st') == 'lost' then return -1 end
if schema < SCHEMA then call('SET', P .. 'schema', SCHEMA) end
call('SADD', P .. 'sups', ARGV[1])
call('HSET', key, 'st', 'up', 'bt', NOW, unpack(ARGV, 2))
call('HSETNX', key, 'beat', '1')
call('PERSIST', key)
return NOW
