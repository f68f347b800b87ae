#!lua flags=allow-oom
--#include common
-- Claims ready runs for one pool (q → c; q → p when a limit is full; q → e when too late).
--
-- KEYS[1]  prefix
-- ARGV     supervisor id, owner id, how many are wanted, low-first flag, queues in order …
-- Returns  {status, now, next due or -1, then per run: id, epoch, attempt, lost, first start,
--          queue, priority, job, submitted, max attempts, envelope, due}
--          status 1 = fine, 0 = fine and more is ready, -1 = this owner is fenced or unknown.
-- The one call whose lost answer matters: the owner reads its own set on the next beat.
local supervisor, owner, want, low_first = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
if call('HGET', P .. 'sup:' .. supervisor, 'st') ~= 'up'
  or call('SISMEMBER', P .. 'pools:' .. supervisor, owner) == 0 then
  return { -1, NOW, -1 }
end
promote(LOOKAHEAD)

local out = { 1, NOW, -1 }
local taken, budget = 0, 2 * want + 32

-- Checks every limit of a run before it takes any: returns the limit in the way and its wait.
local function in_the_way(r)
  for _, limit in ipairs(words(r.lm)) do
    if string.sub(limit, 1, 2) == 't:' then
      local wait = token(limit)
      if wait > 0 then return limit, wait end
    else
      local holders = P .. 'c:' .. limit
      local size = capacity(limit)
      if size < math.huge and call('SCARD', holders) >= size and call('SISMEMBER', holders, r.id) == 0 then
        -- A holder that ended without giving its slot back must not keep it for ever.
        local one = call('SRANDMEMBER', holders)
        if not one or alive(one) or size < 1 then return limit, 0 end
        call('SREM', holders, one)
      end
    end
  end
  return nil
end

local function park(r, limit, wait)
  call('HSET', record(r.id), 's', 'p', 'pl', limit)
  call('RPUSH', P .. 'pk:' .. limit, r.id)
  if wait > 0 then due_at('!' .. limit, NOW + wait) end
  -- The slot of another limit that let this run through must not wait for it.
  for _, other in ipairs(words(r.lm)) do
    if other ~= limit and string.sub(other, 1, 2) ~= 't:' then wake(other) end
  end
end

local function take(r)
  for _, limit in ipairs(words(r.lm)) do
    if string.sub(limit, 1, 2) == 't:' then
      local _, tat = token(limit)
      if tat then
        local key = P .. 'rl:' .. limit
        call('SET', key, string.format('%.3f', tat), 'PX', math.ceil(tat - NOW) + 1000)
        if call('LLEN', P .. 'pk:' .. limit) > 0 then
          local wait = token(limit)
          due_at('!' .. limit, NOW + wait)
        end
      end
    else
      call('SADD', P .. 'c:' .. limit, r.id)
    end
  end
  local epoch = tonumber(r.ep or '0') + 1
  local key = record(r.id)
  call('HSET', key, 's', 'c', 'o', owner, 'ep', epoch, 'ct', NOW)
  call('SADD', P .. 'own:' .. owner, r.id)
  local v = call('HMGET', key, 'fs', 't', 'e', 'nb')
  local n = #out
  out[n + 1], out[n + 2], out[n + 3], out[n + 4] = r.id, epoch, r.at or '0', r.ls or '0'
  out[n + 5], out[n + 6], out[n + 7], out[n + 8] = v[1] or '', r.q, r.p, r.j
  out[n + 9], out[n + 10], out[n + 11], out[n + 12] = v[2], r.mx or '1', v[3], v[4] or ''
  taken = taken + 1
end

local function consider(id, queue)
  local r = load(id)
  if not r or r.s ~= 'q' or r.q ~= queue then return end
  if r.xp and tonumber(r.xp) <= NOW then
    r.s = '-' -- its list entry is gone already
    finish(r, 'e', 'deadline')
    return
  end
  local limit, wait = in_the_way(r)
  if limit then park(r, limit, wait) else take(r) end
end

local function drain_level(queue, p)
  local key = P .. 'q:' .. queue .. ':' .. p
  while taken < want and budget > 0 do
    local ids = call('LPOP', key, math.min(want - taken, budget))
    if not ids then return end
    budget = budget - #ids
    for _, id in ipairs(ids) do consider(id, queue) end
  end
end

local function left(queue)
  for p = 9, 0, -1 do
    if call('EXISTS', P .. 'q:' .. queue .. ':' .. p) == 1 then return true end
  end
  return false
end

for i = 5, #ARGV do
  local queue = ARGV[i]
  if low_first then
    for p = 0, 9 do drain_level(queue, p) end
  else
    for p = 9, 0, -1 do drain_level(queue, p) end
  end
  if left(queue) then
    out[1] = 0
    ring(queue)
  else
    call('DEL', P .. 'b:' .. queue)
  end
  if taken >= want or budget <= 0 then
    -- Queues not looked at may hold work: let their bells stand as they are.
    break
  end
end
out[3] = next_due()
flush_counts()
return out
