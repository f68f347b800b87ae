#!lua flags=allow-oom
--#include common
-- Brings a supervisor the notices it has to deliver, after those it takes from what is for anybody.
--
-- KEYS[1]  prefix
-- ARGV     supervisor id, how many are taken at most, how many are told at most, and maybe notices
--          that were delivered, or "<" and one that it passes on to another supervisor
-- Returns  {status, notice …}: status 1 = fine, -1 = this supervisor is fenced or unknown
-- What was brought stays in its list until it is said to be delivered.
local supervisor, most, told = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local own = P .. 'out:' .. supervisor
for i = 4, #ARGV do
  local passed = string.sub(ARGV[i], 1, 1) == '<' and string.sub(ARGV[i], 2)
  -- After a rescue it is another's to deliver.
  if call('LREM', own, 1, passed or ARGV[i]) > 0 and passed then call('RPUSH', P .. 'out', passed) end
end
if call('HGET', P .. 'sup:' .. supervisor, 'st') ~= 'up' then return { -1 } end
for _ = 1, most do
  if type(redis.pcall('LMOVE', P .. 'out', own, 'LEFT', 'RIGHT')) ~= 'string' then break end
end
if most > 0 then
  -- The token that brought us is spent; what is left needs another.
  if call('EXISTS', P .. 'out') == 1 then ring('@out') else call('DEL', P .. 'b:@out') end
end
local out = { 1 }
for _, notice in ipairs(call('LRANGE', own, 0, told - 1)) do out[#out + 1] = notice end
return out
