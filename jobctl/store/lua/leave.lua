#!lua flags=allow-oom
--#include common
-- Takes a supervisor that stopped in order off the list; refused while it still owns runs.
--
-- KEYS[1]  prefix
-- ARGV     supervisor id
-- Returns  how many runs it still owns
local left = 0
for _, owner in ipairs(call('SMEMBERS', P .. 'pools:' .. ARGV[1])) do
  local owned = redis.pcall('SCARD', P .. 'own:' .. owner)
  if type(owned) == 'number' then left = left + owned end
end
if left > 0 then return left end
give_notices(ARGV[1], OUT_MOST)
call('SREM', P .. 'sups', ARGV[1])
call('DEL', P .. 'sup:' .. ARGV[1], P .. 'pools:' .. ARGV[1], P .. 'mb:' .. ARGV[1], P .. 'b:@' .. ARGV[1])
call('DEL', P .. 'b:@out:' .. ARGV[1])
return 0
