-- Where runs wait: queues, lines for a limit, the timetable. A part of common.

-- A run that had its turn and must wait again (parked, put back, tried again at once) keeps as its
-- number when that was, in ms: whoever had its turn earlier is in front, in its queue and in a line.
-- Runs parked by one call differ by a fraction that a double still tells apart.
local parks = 0
local NOW_EXACTLY = time[1] * 1000 + time[2] / 1000
local function turn(id, known, claimed)
  local number = tonumber(known or '') or tonumber(claimed or '')
  if not number then
    parks = parks + 1
    number = NOW_EXACTLY + parks / 4096
  end
  if not known then call('HSET', record(id), 'nr', string.format('%.4f', number)) end
  return number
end

-- True when what is in a list at an index, or the next that really waits there, has a lower number.
-- Entries of runs that ended or never were may be in between; they are dropped when it is their turn.
-- In a queue whoever has no number had no turn; in a line he was parked by an older program.
local STALE_MOST = 16
local function ahead(list, index, number, letter)
  for i = index, index + STALE_MOST do
    local other = call('LINDEX', list, i)
    if not other then return false end
    local v = redis.pcall('HMGET', record(other), 's', 'nr')
    local theirs = tonumber(v[2] or '')
    if v[1] == letter then
      if theirs then return theirs <= number end
      return letter == 'p'
    end
  end
  return true
end

-- Puts a run into a list whose front is in the order of these numbers, behind all lower ones.
-- Looks in growing steps and then in shrinking ones, so a long front costs few looks.
local function in_order(list, id, number, letter)
  local low, step, growing = 0, 1, true
  while step >= 1 do
    if ahead(list, low + step - 1, number, letter) then
      low = low + step
    else
      growing = false
    end
    step = growing and step * 2 or math.floor(step / 2)
  end
  if low == 0 then
    call('LPUSH', list, id)
  else
    local pivot = call('LINDEX', list, low)
    if pivot then call('LINSERT', list, 'BEFORE', pivot, id) else call('RPUSH', list, id) end
  end
end

-- Puts a run into its queue, in front when it had its turn before, and rings. Raises when the key
-- is no list. The record of a `fresh` run says queued already.
local function push(id, queue, priority, front, fresh)
  local list = P .. 'q:' .. queue .. ':' .. priority
  if front then
    local v = call('HMGET', record(id), 'nr', 'ct')
    in_order(list, id, turn(id, v[1], v[2]), 'q')
  else
    call('RPUSH', list, id)
  end
  if not fresh then call('HSET', record(id), 's', 'q') end
  ring_once(queue)
end

-- Adds a member to the timetable, or moves it to an earlier time; wakes a promoter when it became
-- the earliest.
local function due_at(member, ms)
  if call('ZADD', P .. 'due', 'LT', 'CH', ms, member) == 0 then return end
  local first = call('ZRANGE', P .. 'due', 0, 0)
  if first[1] == member then ring('@due') end
end

-- Parks a run for a limit (→ p), and has the limit looked at then.
local function wait_for(limit, id, number, again)
  in_order(P .. 'pk:' .. limit, id, number, 'p')
  call('HSET', record(id), 's', 'p', 'pl', limit)
  pcall(due_at, '!' .. limit, again)
end

-- Parks a run whose queue or line is a key of another type, as for the size of its queue, until
-- that is mended.
local SOON, LATER = 1000, 60000
local function wait_aside(id, queue, number) wait_for('q:' .. queue, id, number, NOW + LATER) end

-- Makes a run ready (→ q).
local function ready(id, queue, priority, front, fresh)
  if pcall(push, id, queue, priority, front, fresh) then return end
  local v = call('HMGET', record(id), 'nr', 'ct')
  wait_aside(id, queue, turn(id, v[1], front and v[2]))
end
