-- Shared by every script. Keys are derived from the namespace prefix KEYS[1], which carries the
-- only hash tag, so all of them are in one slot. Field and key names: store/keys.py.
--
-- Rules: every check before the first write; TIME is the only clock; values arrive flat in ARGV;
-- ready() and ready_again() are the only pushes, finish() the only way to a final state, loops are bounded.
local P = KEYS[1]
local call = redis.call
local LOOKAHEAD = 100

local time = call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

-- How the keys are laid out. A namespace laid out by a newer program is left alone.
local SCHEMA = 1
local schema = redis.pcall('GET', P .. 'schema')
schema = type(schema) == 'string' and tonumber(schema) or 0
if schema > SCHEMA then
  return redis.error_reply('SCHEMA ' .. schema .. ' is in use, this jobctl knows ' .. SCHEMA)
end

local counts = {}
local function count(name, by) counts[name] = (counts[name] or 0) + (by or 1) end
local function flush_counts()
  for name, by in pairs(counts) do call('HINCRBY', P .. 'n', name, by) end
end

local function record(id) return P .. 'r:' .. id end

local let_go

-- Puts a run aside whose record cannot be understood, so that nobody meets it twice. A hash is
-- ours and fails; anything else under that name is left as it is.
local BAD_MOST, BAD_KEEP = 1000, 604800000
local function set_aside(id)
  redis.pcall('LPUSH', P .. 'bad', id)
  redis.pcall('LTRIM', P .. 'bad', 0, BAD_MOST - 1)
  count('bad')
end
local function quarantine(id, why)
  set_aside(id)
  local key = record(id)
  if call('TYPE', key).ok == 'hash' then
    call('HSET', key, 's', 'x', 'rs', 'bad_payload', 'er', tostring(why), 'fn', NOW)
    call('PEXPIRE', key, BAD_KEEP)
    local v = call('HMGET', key, 'lm', 'uq', 'j')
    pcall(let_go, { id = id, lm = v[1], uq = v[2], lv = v[3] and '' or nil, j = v[3] })
  end
end

-- Runs an action on a run that may be broken in ways load() does not see.
local function guarded(action, id, ...)
  local ok, answer = pcall(action, id, ...)
  if ok then return answer end
  quarantine(id, type(answer) == 'table' and answer.err or answer)
  return nil
end

-- A doorbell holds at most one token, which wakes at most one waiter.
local function ring(bell)
  local key = P .. 'b:' .. bell
  if call('LLEN', key) == 0 then call('RPUSH', key, '1') end
end

-- Puts a run into its queue and rings.
local function ready(id, queue, priority, front)
  call(front and 'LPUSH' or 'RPUSH', P .. 'q:' .. queue .. ':' .. priority, id)
  ring(queue)
end

-- Like ready() for a run that was parked: in front, but behind those let through before it.
local AHEAD = 32
local function ready_again(id, queue, priority)
  local list = P .. 'q:' .. queue .. ':' .. priority
  local last
  for i = 0, AHEAD - 1 do
    local other = call('LINDEX', list, i)
    if not other or type(redis.pcall('HGET', record(other), 'pl')) ~= 'string' then break end
    last = other
  end
  if last then call('LINSERT', list, 'AFTER', last, id) else call('LPUSH', list, id) end
  ring(queue)
end

-- Adds a member to the timetable, or moves it to an earlier time; wakes a promoter when it became
-- the earliest.
local function due_at(member, ms)
  if call('ZADD', P .. 'due', 'LT', 'CH', ms, member) == 0 then return end
  local first = call('ZRANGE', P .. 'due', 0, 0)
  if first[1] == member then ring('@due') end
end

-- Returns a run's record as a table, or nil when there is no such run or it is broken.
-- One HGETALL costs a fifth less than naming the two dozen fields that moves decide on.
local function load(id)
  local v = redis.pcall('HGETALL', record(id))
  if v.err then
    quarantine(id, v.err)
    return nil
  end
  local r = {}
  for i = 1, #v, 2 do r[v[i]] = v[i + 1] end
  if not r.s then return nil end
  r.id = id
  if not (r.q and r.j and r.p and string.match(r.p, '^%d$') and string.match(r.ep or '0', '^%d+$')) then
    quarantine(id, 'its record lacks a job, a queue, a priority or an epoch')
    return nil
  end
  r.xp = tonumber(r.xp or '')
  return r
end

-- True when there is nothing at all of a run that was known: the store lost data.
local function gone(id) return call('EXISTS', record(id)) == 0 end

local FINAL = { k = true, x = true, v = true, e = true, s = true }

local function words(text)
  local out = {}
  if text then for word in string.gmatch(text, '%S+') do out[#out + 1] = word end end
  return out
end

-- True while the run is neither final nor forgotten nor broken.
local function alive(id)
  local state = redis.pcall('HGET', record(id), 's')
  return type(state) == 'string' and not FINAL[state]
end

-- Limits. A limit is a set of holders c:<limit>, never a counter, so freeing twice is harmless.
-- o:<job> is the overlap limit of one; j:<job>, q:<queue>, l:<name> have their size in `lim`;
-- t:<job> is a rate "count:period_ms" kept as a theoretical arrival time (GCRA).
--
-- Parked runs never depend on one event alone: while a limit has some, the timetable holds
-- "!limit" and its time wakes as many of them as fit.
local SOON, LATER = 1000, 60000

local function is_rate(limit) return string.sub(limit, 1, 2) == 't:' end

local function capacity(limit)
  if string.sub(limit, 1, 2) == 'o:' then return 1 end
  local size = call('HGET', P .. 'lim', limit)
  return size and tonumber(size) or math.huge
end

-- Returns how many tokens a rate limit has, when there will be one more, and the arrival time
-- that taking one makes.
local function tokens(limit)
  local burst, period = string.match(call('HGET', P .. 'lim', limit) or '', '^(%d+):(%d+)$')
  burst, period = tonumber(burst or '0'), tonumber(period or '0')
  if burst < 1 or period < 1 then return math.huge, NOW + LATER, nil end
  local step = period / burst
  local arrival = tonumber(call('GET', P .. 'rl:' .. limit) or '') or 0
  if arrival > NOW + period + 1 then
    -- The store's clock was set back.
    arrival = NOW + period
    call('SET', P .. 'rl:' .. limit, arrival, 'PX', period + 1000)
  end
  arrival = math.max(NOW, arrival)
  local free = math.floor((NOW + period - arrival) / step + 0.000001)
  return free, math.ceil(arrival + (free + 1) * step - period), arrival + step
end

-- Returns how many more runs a limit lets through, and when to look again at those parked for it.
local function room(limit)
  if is_rate(limit) then return tokens(limit) end
  local free = capacity(limit) - call('SCARD', P .. 'c:' .. limit)
  -- Those let through may be in a queue that nobody serves: then others get their chance.
  return free, NOW + (free > 0 and SOON or LATER)
end

-- Drops holders that are not claimed any more: one that ended without giving its slot back
-- must not keep it for ever.
local function heal(limit, most)
  local holders = P .. 'c:' .. limit
  for _, id in ipairs(redis.pcall('SRANDMEMBER', holders, most)) do
    local state = redis.pcall('HGET', record(id), 's')
    if state ~= 'c' and state ~= 'r' then call('SREM', holders, id) end
  end
end

-- Lets runs parked for a limit through to the front of their queues, in order, as many as fit.
local function wake(limit)
  local parked = P .. 'pk:' .. limit
  if call('LLEN', parked) == 0 then return end
  local free, again = room(limit)
  local woken, scanned = 0, 0
  while woken < free and scanned < LOOKAHEAD do
    local id = call('LPOP', parked)
    if not id then break end
    scanned = scanned + 1
    local v = redis.pcall('HMGET', record(id), 's', 'pl', 'q', 'p')
    if not v.err and v[1] == 'p' and v[2] == limit and v[3] and string.match(v[4] or '', '^%d$') then
      -- `pl` stays: should another run be faster, this one goes back to the head of the line.
      call('HSET', record(id), 's', 'q')
      ready_again(id, v[3], v[4])
      woken = woken + 1
    elseif v.err or (v[1] == 'p' and v[2] == limit) then
      quarantine(id, v.err or 'its record lacks a queue or a priority')
    end
  end
  if call('LLEN', parked) > 0 then
    due_at('!' .. limit, scanned >= LOOKAHEAD and NOW or again)
  end
end

-- What ends or goes back must not be kept from it by a key of another type than its name says:
-- freeing is tried, and a limit under which nothing could be done is looked at again later.
local function try_wake(limit)
  if not pcall(wake, limit) then due_at('!' .. limit, NOW + LATER) end
end

local function free_limits(r)
  for _, limit in ipairs(words(r.lm)) do
    if not is_rate(limit) then redis.pcall('SREM', P .. 'c:' .. limit, r.id) end
    try_wake(limit)
  end
end

-- Gives back what an ended run held: its unique lock, its place among its job's runs, its limits.
function let_go(r)
  if r.uq and redis.pcall('GET', P .. 'u:' .. r.uq) == r.id then call('DEL', P .. 'u:' .. r.uq) end
  if r.lv then redis.pcall('SREM', P .. 'live:' .. r.j, r.id) end
  free_limits(r)
end

-- Takes a run out of whatever claim it is under.
local function disown(r)
  if (r.s == 'c' or r.s == 'r') and r.o then redis.pcall('SREM', P .. 'own:' .. r.o, r.id) end
end

-- True when the run's time to start has passed; it has none once it was started.
local function too_late(r) return r.xp and r.xp <= NOW and not r.at end

-- Puts a claimed run back at the front of its queue.
-- A new epoch makes every later word of the owner it is taken from stale.
local function put_back(r)
  disown(r)
  call('HSET', record(r.id), 's', 'q', 'ep', tonumber(r.ep or '0') + 1)
  r.s = 'q'
  free_limits(r)
  if r.xp and not r.at then due_at('^' .. r.id, r.xp) end
  ready(r.id, r.q, r.p, true)
end

-- Takes the entry of a waiting run out of its list. Of a long list the entry stays: whoever meets
-- it later drops it, because the run is no longer in the state the list stands for.
local SHORT = 2000
local function unlist(r)
  local list
  if r.s == 'q' then list = P .. 'q:' .. r.q .. ':' .. r.p end
  if r.s == 'p' and r.pl then list = P .. 'pk:' .. r.pl end
  local length = list and redis.pcall('LLEN', list)
  if type(length) == 'number' and length <= SHORT then call('LREM', list, 1, r.id) end
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
  let_go(r)
  local keep, ttl, failed = string.match(r.kp or '', '^(%d+):(%d+):(%d*)$')
  if not keep then keep, ttl, failed = '10000', '604800000', '' end
  local history = P .. 'h:' .. r.j
  if letter == 'x' and failed ~= '' then history, keep = P .. 'hf:' .. r.j, failed end
  call('PEXPIRE', key, ttl)
  -- What a repeated settle is answered from must stay, so at least one is kept.
  local length = redis.pcall('LPUSH', history, r.id)
  local over = type(length) == 'number' and length - math.max(tonumber(keep), 1) or 0
  if over > 0 then
    for _, old in ipairs(call('RPOP', history, math.min(over, LOOKAHEAD))) do
      call('UNLINK', record(old), P .. 'l:' .. old)
    end
  end
  r.s = letter
  count(letter)
end

-- Asks the owner of a running run to stop it; the flag makes whoever settles or rescues it revoke.
-- What follows the four words of an order is its seal, see model/sealing.py.
local function ask_to_stop(r, order)
  call('HSET', record(r.id), 'cx', string.match(order, '^%S+ %S+ %S+ %S+') or order)
  local supervisor = string.match(r.o or '', '^([^/]+)/')
  if supervisor then
    call('RPUSH', P .. 'mb:' .. supervisor, 'revoke ' .. r.id .. ' ' .. (r.ep or '0') .. ' ' .. order)
    ring('@' .. supervisor)
  end
end

-- Returns the proof in the seal of a run that replaces others, after a blank; "" without.
local SEAL_MOST = 600
local function proof(envelope)
  local tail = string.sub(envelope or '', -SEAL_MOST)
  local found = string.match(tail, ',"y":"([%w.~-]+)","z":"[^"]*"}$')
  return found and ' ' .. found or ''
end

-- Applies an overlap policy to the unfinished runs of a job; returns one that is in the way.
--
-- Policies: '' allow, s skip, l queue (keep the latest), a queue-all, r replace, f forced: let
-- through but seen by later ones. l, a and r also carry the limit o:<job>, which makes them wait.
-- A run that is due later is not among them: it is judged, and joins them, when it is due.
-- `envelope` is that of the new run: its seal proves that it may stop the others.
local function overlap(job, policy, scheduled, envelope)
  if not (policy == 's' or policy == 'l' or policy == 'r') then return nil end
  local key = P .. 'live:' .. job
  local blocker
  local function meet(id)
    local r = load(id)
    if not r or FINAL[r.s] then
      call('SREM', key, id)
    elseif r.s == 'd' and scheduled and policy ~= 'l' then
      -- A retry that still waits gives way to the next scheduled run.
      finish(r, 'x', call('HGET', record(id), 'rs'))
    elseif policy == 's' then
      blocker = id
    elseif r.s == 'c' or r.s == 'r' then
      if policy == 'r' then ask_to_stop(r, 'replaced - - 1' .. proof(envelope)) end
    else
      finish(r, policy == 'r' and 'v' or 's', policy == 'r' and 'replaced' or 'overlap')
    end
  end
  -- More than one look only helps against entries that a loss of data left behind.
  for _ = 1, policy == 's' and 10 or 1 do
    local others = call('SRANDMEMBER', key, LOOKAHEAD)
    for _, id in ipairs(others) do meet(id) end
    if blocker or #others < LOOKAHEAD then break end
  end
  return blocker
end

-- Makes a due member happen: a run becomes ready, or its time to start has passed.
local function promote_one(id, marker)
  local r = load(id)
  if not r then return end
  if too_late(r) and (r.s == 'd' or r.s == 'q' or r.s == 'p' or r.s == 'w') then
    finish(r, 'e', 'deadline')
  elseif not marker and r.s == 'd' then
    if r.lv and not r.at then
      local policy = string.lower(r.lv)
      if overlap(r.j, policy, policy ~= r.lv, r.e) then
        r.s = '-' -- its entry is gone already
        finish(r, 's', 'overlap')
        return
      end
      call('SADD', P .. 'live:' .. r.j, id)
    end
    call('HSET', record(id), 's', 'q')
    ready(id, r.q, r.p, false)
  end
end

local function promote(most)
  local members = call('ZRANGEBYSCORE', P .. 'due', '-inf', NOW, 'LIMIT', 0, most)
  if #members > 0 then
    call('ZREM', P .. 'due', unpack(members))
    for _, member in ipairs(members) do
      local kind, rest = string.sub(member, 1, 1), string.sub(member, 2)
      if kind == '!' then
        heal(rest, LOOKAHEAD)
        try_wake(rest)
      else
        guarded(promote_one, kind == '^' and rest or member, kind == '^')
      end
    end
  end
  return #members
end

local function next_due()
  local first = call('ZRANGE', P .. 'due', 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) or -1
end
