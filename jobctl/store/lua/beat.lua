#!lua flags=allow-oom
--#include common
-- Shows that a supervisor lives, and reads its mailbox.
--
-- KEYS[1]  prefix
-- ARGV     supervisor id, its load as text, the last beat whose answer it got ("" = take messages
--          off at once), then its owner ids …
-- Returns  {status, now, messages, beat, version of the schedules kept here, then per owner id the
--          size of its own set, -1 for no set}
--          status 1 = up, -1 = fenced: take a new id; -2 = unknown, the store lost its data
-- Messages stay until the supervisor names the beat that brought them, so a lost answer loses none.
local key = P .. 'sup:' .. ARGV[1]
local v = call('HMGET', key, 'st', 'beat', 'told')
if v[1] ~= 'up' then return { v[1] and -1 or -2, NOW, {}, 0, 0 } end
local mailbox = P .. 'mb:' .. ARGV[1]
if ARGV[3] ~= '' and ARGV[3] == v[2] then call('LTRIM', mailbox, tonumber(v[3] or '') or 0, -1) end
local messages = call('LRANGE', mailbox, 0, LOOKAHEAD - 1)
local beat = call('HINCRBY', key, 'beat', 1)
local told = #messages
if ARGV[3] == '' then
  call('LTRIM', mailbox, told, -1)
  told = 0
end
call('HSET', key, 'bt', NOW, 'load', ARGV[2], 'told', told)
local version = redis.pcall('GET', P .. 'lsv')
local out = { 1, NOW, messages, beat, type(version) == 'string' and tonumber(version) or 0 }
for i = 4, #ARGV do
  local size = redis.pcall('SCARD', P .. 'own:' .. ARGV[i])
  out[#out + 1] = type(size) == 'number' and size or -1
end
return out
