-- Limits: a part of common.
-- A limit is a set of holders c:<limit>, never a counter, so freeing twice is harmless.
-- o:<job> is the overlap limit of one; j:<job>, q:<queue>, l:<name> have their size in `lim`;
-- t:<job> is a rate "count:period_ms" kept as a theoretical arrival time (GCRA).
--
-- Parked runs never depend on one event alone: while a limit has some, the timetable holds
-- "!limit" and its time wakes as many of them as fit.
local function words(text)
  local out = {}
  if text then for word in string.gmatch(text, '%S+') do out[#out + 1] = word end end
  return out
end

local function is_rate(limit) return string.sub(limit, 1, 2) == 't:' end

local function capacity(limit)
  if string.sub(limit, 1, 2) == 'o:' then return 1 end
  local size = redis.pcall('HGET', P .. 'lim', limit)
  if type(size) == 'table' then return 0 end
  return size and tonumber(size) or math.huge
end

-- Returns how many tokens a rate limit has, when there will be one more, and the arrival time
-- that taking one makes.
local function tokens(limit)
  local size = redis.pcall('HGET', P .. 'lim', limit)
  local arrival = redis.pcall('GET', P .. 'rl:' .. limit)
  if type(size) == 'table' or type(arrival) == 'table' then return 0, NOW + LATER, nil end
  local burst, period = string.match(size or '', '^(%d+):(%d+)$')
  burst, period = tonumber(burst or '0'), tonumber(period or '0')
  if burst < 1 or period < 1 then return math.huge, NOW + LATER, nil end
  local step = period / burst
  arrival = tonumber(arrival or '') or 0
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
-- None, while a key of another type is in the place of its size, its holders or its tokens.
local function room(limit)
  if is_rate(limit) then return tokens(limit) end
  local held = redis.pcall('SCARD', P .. 'c:' .. limit)
  local free = type(held) == 'number' and capacity(limit) - held or 0
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
  local woken, scanned, stuck = 0, 0, {}
  while woken < free and scanned < LOOKAHEAD do
    local id = call('LPOP', parked)
    if not id then break end
    scanned = scanned + 1
    local v = redis.pcall('HMGET', record(id), 's', 'pl', 'q', 'p')
    if not v.err and v[1] == 'p' and v[2] == limit and v[3] and string.match(v[4] or '', '^%d$') then
      -- Should another run be faster, this one's number brings it back to its place in the line.
      if pcall(push, id, v[3], v[4], true) then
        woken = woken + 1
      else
        stuck[#stuck + 1] = { id, v[3] }
      end
    elseif v.err or (v[1] == 'p' and v[2] == limit) then
      quarantine(id, v.err or 'its record lacks a queue or a priority')
    end
  end
  for _, item in ipairs(stuck) do
    wait_aside(item[1], item[2], turn(item[1], call('HGET', record(item[1]), 'nr')))
  end
  if call('LLEN', parked) > 0 then
    due_at('!' .. limit, scanned >= LOOKAHEAD and NOW or again)
  end
end

-- What ends or goes back must not be kept from it by a key of another type than its name says:
-- freeing is tried, and a limit under which nothing could be done is looked at again later.
local function try_wake(limit)
  if not pcall(wake, limit) then pcall(due_at, '!' .. limit, NOW + LATER) end
end
