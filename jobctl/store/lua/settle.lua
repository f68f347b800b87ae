#!lua flags=allow-oom
--#include common
-- Records how attempts ended (c, r → k, x, v, s, or d for another attempt).
--
-- KEYS[1]  prefix
-- ARGV     owner id, then per run: id, epoch, letter, reason, delay ms (for d), number of fields,
--          then that many names and values to set
-- Returns  per run: the letter it now has; already (this epoch was settled before: a replay);
--          stale (not ours any more: discard); gone (the store lost the run: keep what is known)
local owner = ARGV[1]
local out = {}

local function retry(r, delay, fields)
  disown(r)
  r.s = 'd'
  call('HSET', record(r.id), unpack(fields))
  -- The next attempt queues up anew.
  if r.nr then call('HDEL', record(r.id), 'nr') end
  free_limits(r)
  if delay > 0 then
    call('HSET', record(r.id), 's', 'd', 'nb', NOW + delay)
    -- Without a timetable it cannot wait: better at once than never.
    if not pcall(due_at, r.id, NOW + delay) then ready(r.id, r.q, r.p, false) end
  else
    ready(r.id, r.q, r.p, true)
  end
  count('retried')
end

local function settle(id, epoch, letter, reason, delay, fields)
  local r = load(id)
  if not r or r.o ~= owner then
    redis.pcall('SREM', P .. 'own:' .. owner, id)
    return gone(id) and 'gone' or 'stale'
  end
  if r.ep ~= epoch then return 'stale' end
  if r.s ~= 'c' and r.s ~= 'r' then return 'already' end
  if r.cx and (letter == 'd' or letter == 'x') then
    letter, reason = 'v', string.match(r.cx, '^%S+')
  end
  if r.nt and not r.fs then tell(tell_short, r, fields) end
  -- What an earlier attempt left must not be taken for this one's.
  if r.at then call('HDEL', record(id), 'rs', 'rc', 'sg', 'er', 're', 'pg') end
  if letter == 'd' then
    fields[#fields + 1], fields[#fields + 2] = 'rs', reason
    retry(r, delay, fields)
    if r.nt then tell(tell_retry, r, fields) end
  else
    if reason == 'bad_payload' then set_aside(id) end
    finish(r, letter, reason, fields)
  end
  return letter
end

gathering = true
local i = 2
while i <= #ARGV do
  local size = tonumber(ARGV[i + 5]) * 2
  local fields = {}
  for k = 1, size do fields[k] = ARGV[i + 5 + k] end
  local answer = guarded(settle, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 4]), fields)
  -- What raised may have done so when the end was written already.
  answer = answer or redis.pcall('HGET', record(ARGV[i]), 's')
  out[#out + 1] = type(answer) == 'string' and answer or 'x'
  i = i + 6 + size
end
flush_ends()
flush_counts()
return out
