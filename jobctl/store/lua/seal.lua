#!lua flags=allow-oom
--#include common
-- Gives runs that have not ended an envelope with a signature, unless theirs changed meanwhile.
--
-- KEYS[1]  prefix
-- ARGV     per run: id, the envelope it has, the envelope it gets
-- Returns  how many were changed
local changed = 0
for i = 1, #ARGV, 3 do
  local r = load(ARGV[i])
  if r and not FINAL[r.s] and r.e == ARGV[i + 1] then
    call('HSET', record(r.id), 'e', ARGV[i + 2])
    changed = changed + 1
  end
end
return changed
