-- The moves that several scripts make. A part of common.

local function free_limits(r)
  if not r.lm then return end
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

-- A script that ends many runs, of which none can make it fail, sets `gathering` and calls
-- flush_ends() when it is through: who leaves a claim and who enters a history is gathered until
-- then, so that each set and list is changed once.
local gathering = false
local leaving, ended = {}, {}

-- Puts a value into the list of its kind; returns that list when it is time to empty it.
local function gather(lists, kind, value)
  local list = lists[kind] or {}
  lists[kind] = list
  list[#list + 1] = value
  if gathering and #list < MANY then return nil end
  lists[kind] = nil
  return list
end

-- Takes a run out of whatever claim it is under.
local function disown(r)
  if not ((r.s == 'c' or r.s == 'r') and r.o) then return end
  local all = gather(leaving, r.o, r.id)
  if all then redis.pcall('SREM', P .. 'own:' .. r.o, unpack(all)) end
end

-- Puts runs into a history, which keeps so many; the records of the oldest beyond those go.
local function remember(history, keep, ids)
  local length = redis.pcall('LPUSH', history, unpack(ids))
  -- What a repeated settle is answered from must stay, so at least one is kept.
  local over = type(length) == 'number' and length - math.max(tonumber(keep), 1) or 0
  if over < 1 then return end
  local records, outputs = {}, {}
  for k, old in ipairs(call('RPOP', history, math.min(over, math.max(LOOKAHEAD, 2 * #ids)))) do
    records[k], outputs[k] = record(old), P .. 'l:' .. old
  end
  call('UNLINK', unpack(records))
  -- Few runs have their output here, and what is asked for costs less than what is written down.
  if call('EXISTS', unpack(outputs)) > 0 then call('UNLINK', unpack(outputs)) end
end

local function flush_ends()
  for owner, ids in pairs(leaving) do redis.pcall('SREM', P .. 'own:' .. owner, unpack(ids)) end
  for kept, ids in pairs(ended) do remember(kept.history, kept.keep, ids) end
  leaving, ended = {}, {}
end

-- True when the run's time to start has passed; it has none once it was started.
local function too_late(r) return r.xp and r.xp <= NOW and not r.at end

-- Puts a claimed run back at the front of its queue.
-- A new epoch makes every later word of the owner it is taken from stale.
local function put_back(r)
  disown(r)
  call('HSET', record(r.id), 'ep', tonumber(r.ep or '0') + 1)
  r.s = 'q'
  ready(r.id, r.q, r.p, true)
  free_limits(r)
  if r.xp and not r.at then pcall(due_at, '^' .. r.id, r.xp) end
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

-- Returns where a run that ends now is remembered, how many are, and until when: one table for
-- all of which that is the same.
local places = {}
local function retention(r, letter)
  -- The name of a job is one word, so it stands for nothing else.
  local kind = r.kp and r.kp .. (letter == 'x' and ' x ' or ' ') .. r.j or r.j
  local kept = places[kind]
  if kept then return kept end
  local keep, ttl, failed = string.match(r.kp or '', '^(%d+):(%d+):(%d*)$')
  if not keep then keep, ttl, failed = '10000', '604800000', '' end
  local history = P .. 'h:' .. r.j
  if letter == 'x' and failed ~= '' then history, keep = P .. 'hf:' .. r.j, failed end
  kept = { history = history, keep = keep, till = string.format('%.0f', NOW + ttl) }
  places[kind] = kept
  return kept
end

-- Ends a run: the only way to a final state. `more` are further fields to set. Few runs have what is
-- asked for here before it is cared for.
local NONE = {}
local function finish(r, letter, reason, more)
  local key = r.key or record(r.id)
  disown(r)
  if r.s == 'q' or r.s == 'p' then unlist(r) end
  if r.s == 'd' then redis.pcall('ZREM', P .. 'due', r.id) end
  if r.xp then redis.pcall('ZREM', P .. 'due', '^' .. r.id) end
  if reason and reason ~= '' then
    call('HSET', key, 's', letter, 'fn', NOW_TEXT, 'rs', reason, unpack(more or NONE))
  else
    call('HSET', key, 's', letter, 'fn', NOW_TEXT, unpack(more or NONE))
  end
  if r.nt then announce(r, letter, reason, more) end
  if r.ik then redis.pcall('SET', P .. 'id:' .. r.id, letter .. ' ' .. r.j, 'PX', r.ik) end
  if r.uq or r.lv or r.lm then let_go(r) end
  local kept = retention(r, letter)
  call('PEXPIREAT', key, kept.till)
  local all = gather(ended, kept, r.id)
  if all then remember(kept.history, kept.keep, all) end
  r.s = letter
  count(letter)
end

-- Asks the owner of a running run to stop it; the flag makes whoever settles or rescues it revoke.
-- What follows the four words of an order is its seal, see model/sealing.py.
local function ask_to_stop(r, order)
  call('HSET', record(r.id), 'cx', string.match(order, '^%S+ %S+ %S+ %S+') or order)
  local supervisor = string.match(r.o or '', '^([^/]+)/')
  if supervisor then
    redis.pcall('RPUSH', P .. 'mb:' .. supervisor, 'revoke ' .. r.id .. ' ' .. (r.ep or '0') .. ' ' .. order)
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
      if type(redis.pcall('SCARD', P .. 'live:' .. r.j)) ~= 'number' then
        due_at(id, NOW + LATER)
        return
      end
      local policy = string.lower(r.lv)
      if overlap(r.j, policy, policy ~= r.lv, r.e) then
        r.s = '-' -- its entry is gone already
        finish(r, 's', 'overlap')
        return
      end
      call('SADD', P .. 'live:' .. r.j, id)
    end
    ready(id, r.q, r.p, false)
  end
end

-- Acts on what is due of notices: a run that is late, or failures that were held back.
local WAITS = { d = true, q = true, p = true, w = true }
local function notice_due(kind, what)
  if kind == '~' then
    tell(tell_held, what)
    return
  end
  local r = load(what)
  if r and r.nt and WAITS[r.s] and not r.at and setting(r, 'l') then tell(tell_late, r, tonumber(r.nb or '') or tonumber(r.t or '')) end
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
      elseif kind == '?' or kind == '~' then
        guarded(function(what) notice_due(kind, what) end, rest)
      else
        guarded(promote_one, kind == '^' and rest or member, kind == '^')
      end
    end
  end
  return #members
end
