#!lua flags=allow-oom
--#include common
-- Records how attempts ended (c, r → k, x, v, s, or d for another attempt).
--
-- KEYS[1]  prefix
-- ARGV     owner id, then per run: id, epoch, letter, reason, delay ms (for d), number of fields,
--          then that many names and values to set
-- Returns  per run: the letter it now has; already (this epoch was settled before: a replay);
--          stale (not ours any more: discard)
local owner = ARGV[1]
local out = {}

local function retry(r, delay, fields)
  disown(r)
  r.s = 'd'
  call('HSET', record(r.id), unpack(fields))
  free_limits(r)
  if delay > 0 then
    call('HSET', record(r.id), 's', 'd', 'nb', NOW + delay)
    due_at(r.id, NOW + delay)
  else
    call('HSET', record(r.id), 's', 'q')
    ready(r.id, r.q, r.p, true)
  end
  count('retried')
end

local i = 2
while i <= #ARGV do
  local id, epoch, letter, reason = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local delay, size = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  local fields = {}
  for k = 1, size * 2 do fields[k] = ARGV[i + 5 + k] end
  i = i + 6 + size * 2
  local r = load(id)
  if not r or r.o ~= owner or r.ep ~= epoch then
    out[#out + 1] = 'stale'
  elseif r.s ~= 'c' and r.s ~= 'r' then
    out[#out + 1] = 'already'
  else
    if r.cx and (letter == 'd' or letter == 'x') then
      letter, reason = 'v', string.match(r.cx, '^%S+')
    end
    if letter == 'd' then
      fields[#fields + 1], fields[#fields + 2] = 'rs', reason
      retry(r, delay, fields)
    else
      finish(r, letter, reason, fields)
    end
    out[#out + 1] = letter
  end
end
flush_counts()
return out
