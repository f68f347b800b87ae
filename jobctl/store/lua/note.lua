#!lua flags=allow-oom
--#include common
-- Stores what is to be seen of running runs: progress, or after a "!" what keeps them from beginning.
--
-- KEYS[1]  prefix
-- ARGV     owner id, then per run: id, epoch, progress or "!…"
-- Returns  how many were stored
local owner, stored = ARGV[1], 0
for i = 2, #ARGV, 3 do
  local v = redis.pcall('HMGET', record(ARGV[i]), 'o', 'ep', 's')
  if v[1] == owner and v[2] == ARGV[i + 1] and (v[3] == 'c' or v[3] == 'r') then
    local field, word = 'pg', ARGV[i + 2]
    if word:sub(1, 1) == '!' then field, word = 'bl', word:sub(2) end
    call('HSET', record(ARGV[i]), field, word)
    stored = stored + 1
  end
end
return stored
