#!lua flags=allow-oom
--#include common
-- Shows that a supervisor lives, and empties its mailbox.
--
-- KEYS[1]  prefix
-- ARGV     supervisor id, its load as text, then its owner ids …
-- Returns  {status, now, messages, then per owner id the size of its own set}
--          status 1 = up, -1 = fenced or unknown: take a new id
local key = P .. 'sup:' .. ARGV[1]
if call('HGET', key, 'st') ~= 'up' then return { -1, NOW, {} } end
call('HINCRBY', key, 'beat', 1)
call('HSET', key, 'bt', NOW, 'load', ARGV[2])
local mailbox = P .. 'mb:' .. ARGV[1]
local out = { 1, NOW, call('LRANGE', mailbox, 0, -1) }
call('DEL', mailbox)
for i = 3, #ARGV do out[#out + 1] = call('SCARD', P .. 'own:' .. ARGV[i]) end
return out
