-- Notices: what somebody outside is to be told of a run, written by the very script that moves it.
-- A part of common.
--
-- `nt` of a run says of which events, see model/notices.py: their letters (r its first start,
-- d another attempt, and those of final states), then ",m<ms>" for mails of failures at most so
-- often, ",l<ms>" late so long after its time, ",h<n>" so many hooks above it, ",p<n>" pause.
-- A notice goes to the supervisor that had the run last, which has its output, else to whoever
-- takes it.

local OUT_MOST = 100000

local function wanted(r, event) return string.find(string.match(r.nt, '^%l*'), event, 1, true) end
local function setting(r, letter) return tonumber(string.match(r.nt, ',' .. letter .. '(%d+)') or '') end

-- Writes one notice; `more` has what is known beside who, what and when.
local function post(event, r, more)
  local sid = string.match(r.o or '', '^([^/]+)/')
  local place = sid and redis.pcall('HGET', P .. 'sup:' .. sid, 'st') == 'up' and 'out:' .. sid or 'out'
  -- A list that nobody empties must not fill the store.
  if call('LLEN', P .. place) >= OUT_MOST then
    count('untold')
    return
  end
  more.ev, more.id, more.j, more.t = event, r.id, r.j, NOW
  more.at, more.h = tonumber(more.at or r.at or '0'), setting(r, 'h')
  more.no = call('HINCRBY', P .. 'n', 'notices', 1)
  call('RPUSH', P .. place, cjson.encode(more))
  ring('@' .. place)
end

-- Picks what a notice says of an outcome from a flat list of fields.
local SAID = { at = true, rs = true, rc = true, sg = true, er = true }
local ERROR_MOST = 300
local function said(fields, reason)
  -- Of what succeeded at once nothing else is said, see settle in store/transitions.py.
  local more = fields and fields[1] == 'a1' and { at = '1', rc = '0' } or {}
  for i = 1, #(fields or {}), 2 do
    if SAID[fields[i]] then more[fields[i]] = string.sub(tostring(fields[i + 1]), 1, ERROR_MOST) end
  end
  if reason and reason ~= '' then more.rs = reason end
  return more
end

-- Counts failures in a row, and decides which of them are mailed: one in a while, so that a job
-- that fails each minute does not mail each minute. What was held back is told at the end of it.
local REMEMBER = 34560000000 -- 400 days in ms
local function failed(r, every, more)
  local key = P .. 'al:' .. r.j
  more.n = call('HINCRBY', key, 'n', 1)
  if more.n == 1 then call('HSET', key, 'since', NOW) end
  more.since = tonumber(call('HGET', key, 'since') or '') or NOW
  call('PEXPIRE', key, REMEMBER)
  if not every then return end
  local v = call('HMGET', key, 'told', 'quiet')
  local told = tonumber(v[1] or '')
  if told and NOW < told + every then
    call('HINCRBY', key, 'quiet', 1)
    call('HSET', key, 'last', r.id, 'nt', r.nt)
    due_at('~' .. r.j, told + every)
  else
    more.m, more.q = 1, tonumber(v[2] or '') or 0
    call('HSET', key, 'told', NOW, 'alert', 1)
    call('HDEL', key, 'quiet', 'last', 'nt')
    call('ZREM', P .. 'due', '~' .. r.j)
  end
end

-- Ends a row of failures. That it ended is mailed when a failure of it was; what was held back
-- is told later, as it would have been.
local function worked(r, more)
  local key = P .. 'al:' .. r.j
  local v = call('HMGET', key, 'n', 'since', 'alert')
  local n = tonumber(v[1] or '') or 0
  if n == 0 then return end
  more.n, more.since, more.rec = n, tonumber(v[2] or '') or NOW, 1
  if v[3] then more.m = 1 end
  call('HDEL', key, 'n', 'since', 'alert')
end

-- Writes down that a run ended, for those who are to be told.
local function tell_end(r, letter, reason, fields)
  local more = said(fields, reason)
  local every = setting(r, 'm')
  if every or setting(r, 'p') then
    if letter == 'x' or letter == 'e' then failed(r, every, more) end
    if letter == 'k' then worked(r, more) end
  end
  local pause = setting(r, 'p')
  if setting(r, 'l') then call('ZREM', P .. 'due', '?' .. r.id) end
  if more.m or wanted(r, letter) then post(letter, r, more) end
  if pause and pause > 0 and more.n and letter ~= 'k' and more.n % pause == 0 then
    post('p', r, { n = more.n, since = more.since, rs = more.rs, rc = more.rc })
  end
end

-- The outbox may be a key of another type; a run ends all the same.
local function tell(action, ...)
  if not pcall(action, ...) then count('untold') end
end

function announce(r, letter, reason, fields)
  if r.nt then tell(tell_end, r, letter, reason, fields) end
end

-- A run was started: the first time is told, and it is not late any more.
local function tell_start(r, first)
  if first and wanted(r, 'r') then post('r', r, {}) end
  if setting(r, 'l') then call('ZREM', P .. 'due', '?' .. r.id) end
end

-- The start of a short run is not recorded before its end; of one that succeeded at once, not even then.
local function tell_short(r, letter, fields)
  if letter == 'k' and (fields[1] == 'a1' or fields[3] == 'a1') then fields = { 'fs' } end
  for i = 1, #fields, 2 do
    if fields[i] == 'fs' and wanted(r, 'r') then post('r', r, said({ 'at', '1' })) end
  end
end

local function tell_retry(r, fields)
  if wanted(r, 'd') then post('d', r, said(fields)) end
end

-- A run has not started in time; `due` is when it should have, in ms. When a whole queue stands
-- still, one in a while is told of; the others are counted for the next one.
local LATE_EVERY = 3600000
local function tell_late(r, due)
  local key = P .. 'al:' .. r.j
  local v = call('HMGET', key, 'late', 'lq')
  local told = tonumber(v[1] or '')
  if told and NOW < told + (setting(r, 'm') or LATE_EVERY) then
    call('HINCRBY', key, 'lq', 1)
    return
  end
  call('HSET', key, 'late', NOW)
  call('HDEL', key, 'lq')
  call('PEXPIRE', key, REMEMBER)
  post('l', r, { due = due, s = r.s, pl = r.pl, q = tonumber(v[2] or '') or 0 })
end

-- A scheduled instant, in ms, made no run.
local function tell_missed(job, nt, instant)
  post('m', { id = '', j = job, nt = nt }, { due = instant })
end

-- What of a job's failures was held back is told now.
local function tell_held(job)
  local key = P .. 'al:' .. job
  local v = call('HMGET', key, 'quiet', 'last', 'n', 'since', 'nt')
  local quiet = tonumber(v[1] or '') or 0
  if quiet == 0 or not v[2] then return end
  local n = tonumber(v[3] or '') or 0
  call('HSET', key, 'told', NOW)
  if n > 0 then call('HSET', key, 'alert', 1) end
  call('HDEL', key, 'quiet', 'last', 'nt')
  local r = { id = v[2], j = job, nt = v[5] or '', o = redis.pcall('HGET', record(v[2]), 'o') or nil }
  if type(r.o) ~= 'string' then r.o = nil end
  post('h', r, { m = 1, q = quiet, n = n, since = tonumber(v[4] or '') })
end

-- Gives notices that a supervisor cannot deliver any more to whoever takes them; returns how many
-- are left.
local function give_notices(supervisor, most)
  local from, moved = P .. 'out:' .. supervisor, 0
  if call('TYPE', from).ok ~= 'list' then return 0 end
  while moved < most do
    if type(redis.pcall('LMOVE', from, P .. 'out', 'LEFT', 'RIGHT')) ~= 'string' then break end
    moved = moved + 1
  end
  if moved > 0 then ring('@out') end
  return call('LLEN', from)
end
