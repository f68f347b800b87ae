#!lua
--#later records seldom lines slots notices moves
--#include common
--#include group
-- Accepts new runs (- → q, d or s), in groups that share their job's settings.
--
-- KEYS[1]  prefix
-- ARGV     per group: the fields of GROUP, the number of runs, how many fields they have, then
--          those: id and envelope, or all five
-- Returns  one answer per run, in order (see admit.lua); all of a full queue's runs are refused.
-- A repeat answers "dup" for what the first call accepted: it is idempotent.
local answers = {}

-- True when nothing but a run's id can be in its way, and nothing but its queue knows of it.
local function plain(g)
  return (g.ov == '' or g.ov == 'a') and g.ml == '' and g.dl == '' and g.nt == ''
end

-- Makes up to MANY new runs ready, in order. Their records say so already; their queue is a list.
local function ready_all(ids, queue, priority)
  call('RPUSH', P .. 'q:' .. queue .. ':' .. priority, unpack(ids))
  ring_once(queue)
end

-- Accepts plain runs, which are ready at once; returns the last one that was accepted. They are
-- looked for, and put into their queue, in one command for all: after the first write nothing
-- can fail before the last.
local function admit_plain(g, first, last)
  fits(g, nil, false, nil, false)
  local keys = {}
  for i = first, last, 2 do keys[#keys + 1] = record(ARGV[i]) end
  local all_new = call('EXISTS', unpack(keys)) == 0
  if all_new and g.ik ~= '' then
    local left = {}
    for i = first, last, 2 do left[#left + 1] = P .. 'id:' .. ARGV[i] end
    all_new = call('EXISTS', unpack(left)) == 0
  end
  local set = record_of(g, '', 'q')
  local accepted, seen = {}, {}
  for k, key in ipairs(keys) do
    local id = ARGV[first + 2 * k - 2]
    local known = seen[id] or (not all_new and repeated(g, id, redis.pcall('HGET', key, 's')))
    if known then
      answers[#answers + 1] = known
    else
      set[ENVELOPE] = ARGV[first + 2 * k - 1]
      call('HSET', key, unpack(set))
      seen[id] = 'dup q'
      accepted[#accepted + 1] = id
      answers[#answers + 1] = 'ok'
    end
  end
  if #accepted == 0 then return nil end
  count('submitted', #accepted)
  ready_all(accepted, g.queue, g.p)
  return accepted[#accepted]
end

-- What plain runs do not need.
local admit_one
local function more()
--#include records
--#include seldom
--#include lines
--#include slots
--#include notices
--#include moves
--#include admit
  -- Returns the answer to a run, and its id if it may stand for its job's name.
  function admit_one(g, i, size)
    local n = read_new(i, size)
    local answer = admit(g, n, false)
    return answer, recorded(answer) and n.id
  end
end

local i = 1
while i <= #ARGV do
  local g
  g, i = read_group(i)
  local runs, size = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  i = i + 2
  local past = i + runs * size
  local latest
  if size == 2 and plain(g) then
    for first = i, past - 1, 2 * MANY do
      latest = admit_plain(g, first, math.min(first + 2 * MANY, past) - 1) or latest
    end
  else
    if not admit_one then more() end
    for first = i, past - 1, size do
      local answer, id = admit_one(g, first, size)
      latest = id or latest
      answers[#answers + 1] = answer
    end
  end
  i = past
  if latest then redis.pcall('HSET', P .. 'latest', g.job, latest, '@last', latest) end
end
flush_counts()
return answers
