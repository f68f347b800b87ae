#!lua flags=allow-oom
--#later seldom lines slots notices moves
--#include common
-- Claims ready runs for one pool (q → c; q → p when a limit is full; q → e when too late).
--
-- KEYS[1]  prefix
-- ARGV     supervisor id, owner id, how many are wanted, low-first flag, queues in order …, or
--          "=id" … for runs that are under way at this owner: no limit keeps those from being claimed
-- Returns  {status, now, next due or -1, then per run: id, submitted, envelope}; before each run that
--          differs from the one before it in them: 0, epoch, attempt, lost, interrupted, first
--          start, due, queue, priority, job, max attempts
--          status 1 = fine, 0 = fine and more is ready, -1 = this owner is fenced or unknown.
-- The one call whose lost answer matters: the owner reads its own set on the next beat.
local supervisor, owner, want, low_first = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
if call('HGET', P .. 'sup:' .. supervisor, 'st') ~= 'up'
  or call('SISMEMBER', P .. 'pools:' .. supervisor, owner) == 0 then
  return { -1, NOW, -1 }
end
-- Raises before anything is changed when no claim could be recorded.
call('SCARD', P .. 'own:' .. owner)

local out = { 1, NOW, -1 }
local fresh = {} -- taken, and not yet in the owner's set
local taken, budget = 0, 2 * want + 32

local function number(value, otherwise) return value and is_number(value) and value or otherwise end

local size = 3
local ep, at, ls, dr, fs, nb, q, p, j, mx
local function answer(r, epoch)
  if epoch ~= ep or r.at ~= at or r.ls ~= ls or r.dr ~= dr or r.fs ~= fs or r.nb ~= nb
    or r.q ~= q or r.p ~= p or r.j ~= j or r.mx ~= mx then
    ep, at, ls, dr, fs, nb, q, p, j, mx = epoch, r.at, r.ls, r.dr, r.fs, r.nb, r.q, r.p, r.j, r.mx
    out[size + 1], out[size + 2], out[size + 3] = 0, epoch, number(at, '0')
    out[size + 4], out[size + 5], out[size + 6] = number(ls, '0'), number(dr, '0'), number(fs, '')
    out[size + 7], out[size + 8], out[size + 9] = number(nb, ''), q, p
    out[size + 10], out[size + 11] = j, mx or '1'
    size = size + 11
  end
  out[size + 1], out[size + 2], out[size + 3] = r.id, number(r.t, '0'), r.e or ''
  size = size + 3
end

-- Most records are as submit made them, with nothing that only some have. They are read into one
-- table, which is that of the last of them.
local PLAIN_SIZE = 12
local plain_one = { id = '', key = '', s = '', e = '', q = '', p = '', j = '', t = '', mx = '', plain = true }
local function plain(id, key, v)
  local size = #v
  if v[1] ~= 's' or v[3] ~= 'e' or v[5] ~= 'q' or v[7] ~= 'p' or v[9] ~= 'j' or v[11] ~= 't'
    or size ~= PLAIN_SIZE and (size ~= PLAIN_SIZE + 2 or v[13] ~= 'mx') or not DIGIT[v[8]] then
    return nil
  end
  local r = plain_one
  r.id, r.key, r.s, r.e, r.q, r.p, r.j, r.t, r.mx = id, key, v[2], v[4], v[6], v[8], v[10], v[12], v[14]
  return r
end

-- A "+" before the time says that, until the run is started or claimed anew, nothing but an order to
-- stop it can make its end differ from the usual: whoever settles it need not read the whole record.
local NOW_USUAL = '+' .. NOW_TEXT
local function is_usual(r) return not (r.xp or r.lm or r.uq or r.lv or r.nt or r.kp or r.ik or r.at) end

local function take(r)
  local epoch = r.ep and string.format('%.0f', tonumber(r.ep) + 1) or '1'
  local when = (r.plain or is_usual(r)) and NOW_USUAL or NOW_TEXT
  call('HSET', r.key, 's', 'c', 'o', owner, 'ep', epoch, 'ct', when)
  fresh[#fresh + 1] = r.id
  answer(r, epoch)
  taken = taken + 1
end

-- What few claims need: limits, deadlines, what is due.
local weigh, promote_due, take_again
local function more()
--#include seldom
--#include lines
--#include slots
--#include notices
--#include moves
  -- Checks every limit of a run before it takes any: returns the first in the way and when to look again.
  local function in_the_way(r)
    for _, limit in ipairs(words(r.lm)) do
      local free, again = room(limit)
      if free < 1 and not is_rate(limit) then
        heal(limit, 1)
        free, again = room(limit)
      end
      if free < 1 and (is_rate(limit) or redis.pcall('SISMEMBER', P .. 'c:' .. limit, r.id) ~= 1) then
        return limit, again
      end
    end
    return nil
  end

  local function park(r, limit, again)
    local number = turn(r.id, r.nr)
    if not pcall(wait_for, limit, r.id, number, again) then wait_aside(r.id, r.q, number) end
    -- The slot of another limit that let this run through must not wait for it.
    for _, other in ipairs(words(r.lm)) do
      if other ~= limit then try_wake(other) end
    end
  end

  local function take_limits(r)
    for _, limit in ipairs(words(r.lm)) do
      if is_rate(limit) then
        local _, _, arrival = tokens(limit)
        if arrival then
          call('SET', P .. 'rl:' .. limit, string.format('%.3f', arrival), 'PX', math.ceil(arrival - NOW) + 1000)
        end
      else
        -- What is under way goes on, whatever is in the place of the holders.
        redis.pcall('SADD', P .. 'c:' .. limit, r.id)
      end
    end
  end

  function weigh(r)
    if too_late(r) then
      finish(r, 'e', 'deadline')
      return
    end
    local limit, again = in_the_way(r)
    if limit then
      park(r, limit, again)
    else
      take_limits(r)
      take(r)
    end
  end

  promote_due = promote

  -- A failover lost the claim of a run that goes on. When somebody else has it now, it is left alone.
  function take_again(id)
    local r = load(id)
    if not r or r.s ~= 'q' then return end
    unlist(r)
    take_limits(r)
    take(r)
  end
end

-- A broken run, met by whoever needs nothing else of it.
function quarantine(...)
  more()
  return quarantine(...)
end

local function consider(id, queue)
  local key = record(id)
  local v = redis.pcall('HGETALL', key)
  local r = plain(id, key, v) or understood(id, key, v)
  if not r or r.s ~= 'q' or r.q ~= queue then return end
  if r.xp or r.lm then
    if not weigh then more() end
    weigh(r)
  else
    take(r)
  end
end

-- Returns the lists of a queue, in order, with room for what pop() says behind them; and how many.
local function levels(queue)
  local list = P .. 'q:' .. queue .. ':'
  -- Texts: to make one of a number costs as much as a small command.
  local keys = low_first and { '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '', '', '' }
    or { '9', '8', '7', '6', '5', '4', '3', '2', '1', '0', '', '', '' }
  for k = 1, 10 do keys[k] = list .. keys[k] end
  return keys, 10
end

local function lists_only(keys, lists)
  local kept, n = {}, 0
  for k = 1, lists do
    local kind = call('TYPE', keys[k]).ok
    if kind == 'list' or kind == 'none' then
      n = n + 1
      kept[n] = keys[k]
    end
  end
  return kept, n
end

local function own_fresh()
  if #fresh > 0 then call('SADD', P .. 'own:' .. owner, unpack(fresh)) end
  fresh = {}
end

-- Pops from the first level that has runs.
local function pop(keys, lists, most)
  if lists == 0 then return nil end
  keys[lists + 1], keys[lists + 2], keys[lists + 3] = 'LEFT', 'COUNT', most
  return redis.pcall('LMPOP', lists, unpack(keys))
end

local soonest = next_due()
if soonest ~= -1 and soonest <= NOW then
  more()
  promote_due(LOOKAHEAD)
end

if string.sub(ARGV[5] or '', 1, 1) == '=' then
  if not take_again then more() end
  for i = 5, #ARGV do guarded(take_again, string.sub(ARGV[i], 2)) end
  own_fresh()
  out[3] = next_due()
  flush_counts()
  return out
end

for i = 5, #ARGV do
  local queue = ARGV[i]
  local keys, lists = levels(queue)
  local more_there = true
  while taken < want and budget > 0 do
    local got = pop(keys, lists, math.min(want - taken, budget))
    if not got then
      more_there = false
      break
    end
    if got.err then
      -- A key under a queue's name that is no list must not stop the others.
      keys, lists = lists_only(keys, lists)
      budget = budget - 1
    else
      budget = budget - #got[2]
      for _, id in ipairs(got[2]) do guarded(consider, id, queue) end
      own_fresh()
    end
  end
  if more_there and lists > 0 and call('EXISTS', unpack(keys, 1, lists)) > 0 then
    -- Also for queues this claim did not come to: the token that brought us may have been theirs.
    out[1] = 0
    ring(queue)
  else
    call('DEL', P .. 'b:' .. queue)
    rung[queue] = nil
  end
end
-- Whoever changes the timetable needs more.
out[3] = weigh and next_due() or soonest
flush_counts()
return out
