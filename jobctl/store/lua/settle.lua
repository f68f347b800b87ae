#!lua flags=allow-oom
--#include common
-- Records how attempts ended (c, r → k, x, v, s, or d for another attempt).
--
-- KEYS[1]  prefix
-- ARGV     owner id, then groups of runs that ended alike: letter, reason, delay ms (for d), epoch, how
--          many fields are set, their names, how many runs; then per run: id, the fields' values
-- Returns  how many runs, when each has the letter asked for; else per run: the letter it now has;
--          already (this epoch was settled before: a replay); stale (not ours any more: discard);
--          gone (the store lost the run: keep what is known)
local owner = ARGV[1]
local out, settled = {}, 0

local function retry(r, delay, fields)
  disown(r)
  r.s = 'd'
  call('HSET', r.key, unpack(fields))
  -- The next attempt queues up anew.
  if r.nr then call('HDEL', r.key, 'nr') end
  free_limits(r)
  if delay > 0 then
    call('HSET', r.key, 's', 'd', 'nb', NOW + delay)
    -- Without a timetable it cannot wait: better at once than never.
    if not pcall(due_at, r.id, NOW + delay) then ready(r.id, r.q, r.p, false) end
  else
    ready(r.id, r.q, r.p, true)
  end
  count('retried')
end

-- Returns what ending a usual claimed run needs of its record, see claim.lua; nil for any other.
-- Of a group whose first run is none, others are not looked at either: they are mostly alike.
local PLUS = string.byte('+')
local usual
local short = { s = '', o = owner, ep = '', j = '', id = '', key = '' } -- the last of them
local function brief(id)
  if not usual then return nil end
  local key = record(id)
  local v = redis.pcall('HMGET', key, 's', 'o', 'ep', 'ct', 'cx', 'j')
  usual = not v.err and v[1] == 'c' and v[2] == owner and v[4] and string.byte(v[4]) == PLUS and not v[5] and v[6]
  if not usual then return nil end
  local r = short
  r.s, r.ep, r.j, r.id, r.key = 'c', v[3], v[6], id, key
  return r
end

local function settle(id, epoch, letter, reason, delay, fields)
  local r = brief(id) or load(id)
  if not r or r.o ~= owner then
    redis.pcall('SREM', P .. 'own:' .. owner, id)
    return gone(id) and 'gone' or 'stale'
  end
  if r.ep ~= epoch then return 'stale' end
  if r.s ~= 'c' and r.s ~= 'r' then return 'already' end
  if r.cx and (letter == 'd' or letter == 'x') then
    letter, reason = 'v', string.match(r.cx, '^%S+')
  end
  if r.nt and not r.fs then tell(tell_short, r, letter, fields) end
  -- What an earlier attempt left must not be taken for this one's.
  if r.at then call('HDEL', r.key, 'rs', 'rc', 'sg', 'er', 're') end
  if letter == 'd' then
    call('HDEL', r.key, 'pg')
    fields = { 'rs', reason, unpack(fields) }
    retry(r, delay, fields)
    if r.nt then tell(tell_retry, r, fields) end
  else
    if reason == 'bad_payload' then set_aside(id) end
    finish(r, letter, reason, fields)
  end
  return letter
end

-- Reads the header of a group; returns what it says and the index of its first run.
local function read_group(i)
  local size = tonumber(ARGV[i + 4])
  -- Names and values in turn, as HSET takes them; each run puts its values into the same table.
  local fields = {}
  for k = 1, size do fields[2 * k - 1] = ARGV[i + 4 + k] end
  local runs = tonumber(ARGV[i + 5 + size])
  return ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3], size, fields, runs, i + 6 + size
end

gathering = true
local i = 2
while i <= #ARGV do
  local letter, reason, delay, epoch, size, fields, runs
  letter, reason, delay, epoch, size, fields, runs, i = read_group(i)
  usual = letter ~= 'd'
  for _ = 1, runs do
    local id = ARGV[i]
    for k = 1, size do fields[2 * k] = ARGV[i + k] end
    local answer = guarded(settle, id, epoch, letter, reason, delay, fields)
    -- What raised may have done so when the end was written already.
    answer = answer or redis.pcall('HGET', record(id), 's')
    out[#out + 1] = type(answer) == 'string' and answer or 'x'
    if answer == letter then settled = settled + 1 end
    i = i + 1 + size
  end
end
flush_ends()
flush_counts()
if settled == #out then return settled end
return out
