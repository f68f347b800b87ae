-- Shared by every script. Keys are derived from the namespace prefix KEYS[1], which carries the
-- only hash tag, so all of them are in one slot. Field and key names: store/keys.py.
--
-- Rules: every check before the first write; TIME is the only clock; values arrive flat in ARGV;
-- ready() is the only push, finish() the only way to a final state, loops are bounded.
local P = KEYS[1]
local call = redis.call
local LOOKAHEAD = 100

local time = call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

local counts = {}
local function count(name, by) counts[name] = (counts[name] or 0) + (by or 1) end
local function flush_counts()
  for name, by in pairs(counts) do call('HINCRBY', P .. 'n', name, by) end
end

local function record(id) return P .. 'r:' .. id end

-- A doorbell holds at most one token, which wakes at most one waiter.
local function ring(bell)
  local key = P .. 'b:' .. bell
  if call('LLEN', key) == 0 then call('RPUSH', key, '1') end
end

-- Puts a run into its queue and rings: the only place that does.
local function ready(id, queue, priority, front)
  call(front and 'LPUSH' or 'RPUSH', P .. 'q:' .. queue .. ':' .. priority, id)
  ring(queue)
end

-- Adds a member to the timetable; wakes a promoter when it became the earliest.
local function due_at(member, ms)
  call('ZADD', P .. 'due', ms, member)
  local first = call('ZRANGE', P .. 'due', 0, 0)
  if first[1] == member then ring('@due') end
end

local FIELDS = { 's', 'o', 'ep', 'q', 'p', 'j', 'lm', 'uq', 'kp', 'at', 'mx', 'ls', 'cl', 'cx', 'ol', 'xp', 'lv', 'pl', 'st' }
-- Returns the fields that moves decide on, or nil when there is no such run.
local function load(id)
  local v = call('HMGET', record(id), unpack(FIELDS))
  if not v[1] then return nil end
  local r = { id = id }
  for i, name in ipairs(FIELDS) do r[name] = v[i] end
  return r
end

local FINAL = { k = true, x = true, v = true, e = true, s = true }

local function words(text)
  local out = {}
  if text then for word in string.gmatch(text, '%S+') do out[#out + 1] = word end end
  return out
end

-- Limits. A limit is a set of holders c:<limit>, never a counter, so freeing twice is harmless.
-- o:<job> is the overlap limit of one; j:<job>, q:<queue>, l:<name> have their size in `lim`;
-- t:<job> is a rate "count:period_ms" kept as a theoretical arrival time (GCRA).
local function capacity(limit)
  if string.sub(limit, 1, 2) == 'o:' then return 1 end
  local size = call('HGET', P .. 'lim', limit)
  return size and tonumber(size) or math.huge
end

-- Milliseconds until the rate limit gives its next token, 0 when it has one; and the state after it.
local function token(limit)
  local rate = call('HGET', P .. 'lim', limit)
  if not rate then return 0, nil end
  local burst, period = string.match(rate, '^(%d+):(%d+)$')
  local step = tonumber(period) / tonumber(burst)
  local tat = tonumber(call('GET', P .. 'rl:' .. limit) or '0')
  if tat > NOW + tonumber(period) then tat = NOW + tonumber(period) end
  if tat < NOW then tat = NOW end
  local wait = tat + step - tonumber(period) - NOW
  if wait > 0 then return math.ceil(wait), nil end
  return 0, tat + step
end

-- Gives a freed slot to the runs parked for it: to the front of their queues, as many as fit.
local function wake(limit)
  local parked = P .. 'pk:' .. limit
  if call('LLEN', parked) == 0 then return end
  local free = 1
  if string.sub(limit, 1, 2) ~= 't:' then free = capacity(limit) - call('SCARD', P .. 'c:' .. limit) end
  local scanned = 0
  while free > 0 and scanned < LOOKAHEAD do
    local id = call('LPOP', parked)
    if not id then return end
    scanned = scanned + 1
    local v = call('HMGET', record(id), 's', 'pl', 'q', 'p')
    if v[1] == 'p' and v[2] == limit then
      call('HSET', record(id), 's', 'q')
      call('HDEL', record(id), 'pl')
      ready(id, v[3], v[4], true)
      free = free - 1
    end
  end
end

local function free_limits(r)
  for _, limit in ipairs(words(r.lm)) do
    call('SREM', P .. 'c:' .. limit, r.id)
    wake(limit)
  end
end

-- Takes a run out of whatever claim it is under.
local function disown(r)
  if (r.s == 'c' or r.s == 'r') and r.o then call('SREM', P .. 'own:' .. r.o, r.id) end
end

-- Takes the entry of a waiting run out of its list. Of a long list the entry stays: whoever meets
-- it later drops it, because the run is no longer in the state the list stands for.
local SHORT = 2000
local function unlist(r)
  local list
  if r.s == 'q' then list = P .. 'q:' .. r.q .. ':' .. r.p end
  if r.s == 'p' and r.pl then list = P .. 'pk:' .. r.pl end
  if list and call('LLEN', list) <= SHORT then call('LREM', list, 1, r.id) end
end

-- Ends a run: the only way to a final state. `more` are further fields to set.
local function finish(r, letter, reason, more)
  local key = record(r.id)
  disown(r)
  unlist(r)
  if r.s == 'd' then call('ZREM', P .. 'due', r.id) end
  if r.xp then call('ZREM', P .. 'due', '^' .. r.id) end
  local set = { 's', letter, 'fn', NOW }
  if reason and reason ~= '' then set[5], set[6] = 'rs', reason end
  if more then for _, item in ipairs(more) do set[#set + 1] = item end end
  call('HSET', key, unpack(set))
  if r.uq and call('GET', P .. 'u:' .. r.uq) == r.id then call('DEL', P .. 'u:' .. r.uq) end
  if r.lv then call('SREM', P .. 'live:' .. r.j, r.id) end
  free_limits(r)
  local keep, ttl, failed = '10000', '604800000', ''
  if r.kp then keep, ttl, failed = string.match(r.kp, '^(%d+):(%d+):(%d*)$') end
  local history = P .. 'h:' .. r.j
  if letter == 'x' and failed ~= '' then history, keep = P .. 'hf:' .. r.j, failed end
  call('PEXPIRE', key, ttl)
  if call('LPUSH', history, r.id) > tonumber(keep) then
    local old = call('RPOP', history)
    if old then call('UNLINK', record(old), P .. 'l:' .. old) end
  end
  r.s = letter
  count(letter)
end

-- Makes a due member happen: a run becomes ready, an expiry strikes, a rate limit has a token.
local function promote_one(member)
  local kind = string.sub(member, 1, 1)
  if kind == '!' then
    wake(string.sub(member, 2))
    return
  end
  local id = kind == '^' and string.sub(member, 2) or member
  local r = load(id)
  if not r then return end
  if r.xp and tonumber(r.xp) <= NOW and (r.s == 'd' or r.s == 'q' or r.s == 'p' or r.s == 'w') then
    finish(r, 'e', 'deadline')
  elseif kind ~= '^' and r.s == 'd' then
    call('HSET', record(id), 's', 'q')
    ready(id, r.q, r.p, false)
  end
end

local function promote(most)
  local members = call('ZRANGEBYSCORE', P .. 'due', '-inf', NOW, 'LIMIT', 0, most)
  if #members > 0 then
    call('ZREM', P .. 'due', unpack(members))
    for _, member in ipairs(members) do promote_one(member) end
  end
  return #members
end

local function next_due()
  local first = call('ZRANGE', P .. 'due', 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) or -1
end

-- Asks the owner of a running run to stop it; the flag makes whoever settles or rescues it revoke.
local function ask_to_stop(r, order)
  call('HSET', record(r.id), 'cx', order)
  local supervisor = string.match(r.o or '', '^([^/]+)/')
  if supervisor then
    call('RPUSH', P .. 'mb:' .. supervisor, 'revoke ' .. r.id .. ' ' .. r.ep .. ' ' .. order)
    ring('@' .. supervisor)
  end
end

-- True while the run is neither final nor forgotten.
local function alive(id)
  local state = call('HGET', record(id), 's')
  return state and not FINAL[state]
end
