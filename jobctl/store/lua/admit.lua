-- Accepts one new run; shared by submit and tick. What is said of a group and a run is in group.lua.
--
-- Answers: ok, dup <state>, other <job> (the id is that of a run of another job), unique <holder>, full,
-- skip <holder>.

local function at_time(text, base)
  if text == '' then return nil end
  if string.sub(text, 1, 1) == '+' then return base + tonumber(string.sub(text, 2)) end
  return tonumber(text)
end

-- Counts what waits in a queue, with those that left it to wait for its or their job's limits.
local function queue_length(g)
  local total = 0
  for p = 0, 9 do total = total + call('LLEN', P .. 'q:' .. g.queue .. ':' .. p) end
  for _, limit in ipairs(words(g.lm)) do
    if string.sub(limit, 1, 2) ~= 'l:' then total = total + call('LLEN', P .. 'pk:' .. limit) end
  end
  return total
end

-- Has somebody look whether the run has started in time. An instant that was decided too late for
-- that is told of at once.
local function watch_for_lateness(g, n, due)
  local r = { id = n.id, j = g.job, nt = g.nt, s = 'q' }
  local after = setting(r, 'l')
  if not after then return end
  if due + after > NOW then tell(due_at, '?' .. n.id, due + after) else tell(tell_late, r, due) end
end

-- `held` is a run that is in the way besides those that the overlap policy finds.
local function admit(g, n, scheduled, held)
  local key = record(n.id)
  local known = redis.pcall('HGET', key, 's')
  if known or g.ik ~= '' then
    local answer = repeated(g, n.id, known, scheduled)
    if answer then return answer end
  end
  if n.uq ~= '' then
    local holder = call('GET', P .. 'u:' .. n.uq)
    if holder and alive(holder) then return 'unique ' .. holder end
  end
  if g.ml ~= '' and queue_length(g) >= tonumber(g.ml) then return 'full' end
  local due = at_time(n.nb, NOW)
  local expires = at_time(n.xp, NOW)
  if g.dl ~= '' then
    local deadline = (due or NOW) + tonumber(g.dl)
    if not expires or deadline < expires then expires = deadline end
  end
  local later = due and due > NOW
  local set = record_of(g, n.e, later and 'd' or 'q')
  put(set, 'uq', n.uq)
  put(set, 'xp', expires)
  if later or scheduled then put(set, 'nb', due) end
  local watched = g.ov ~= '' and g.ov ~= 'a'
  if watched then put(set, 'lv', scheduled and string.upper(g.ov) or g.ov) end
  fits(g, n, later, expires, watched)
  local blocker = not later and (held or overlap(g.job, g.ov, scheduled, n.e))
  call('HSET', key, unpack(set))
  count('submitted')
  if blocker then
    local nt = g.nt ~= '' and g.nt or nil
    local ik = g.ik ~= '' and g.ik or nil
    finish({ id = n.id, s = '-', j = g.job, kp = g.kp ~= '' and g.kp or nil, nt = nt, ik = ik }, 's', 'overlap')
    return 'skip ' .. blocker
  end
  if n.uq ~= '' then call('SET', P .. 'u:' .. n.uq, n.id) end
  if watched and not later then call('SADD', P .. 'live:' .. g.job, n.id) end
  if expires then due_at('^' .. n.id, expires) end
  if g.nt ~= '' then watch_for_lateness(g, n, due or NOW) end
  if later then due_at(n.id, due) else ready(n.id, g.queue, g.p, false, true) end
  return 'ok'
end

-- True when the run has a record of its own, so that it may stand for its job's name.
local function recorded(answer) return answer == 'ok' or string.sub(answer, 1, 4) == 'skip' end

-- Reads a run of five fields, or of two when it has nothing in the others.
local function read_new(i, size)
  if size == 2 then return { id = ARGV[i], e = ARGV[i + 1], nb = '', xp = '', uq = '' } end
  return { id = ARGV[i], e = ARGV[i + 1], nb = ARGV[i + 2], xp = ARGV[i + 3], uq = ARGV[i + 4] }
end
