#!lua flags=allow-oom
--#include common
-- Lets a pool process of a supervisor claim.
--
-- KEYS[1]  prefix
-- ARGV     supervisor id, owner id
-- Returns  1, or -1 when the supervisor is not up
if call('HGET', P .. 'sup:' .. ARGV[1], 'st') ~= 'up' then return -1 end
call('SADD', P .. 'pools:' .. ARGV[1], ARGV[2])
return 1
