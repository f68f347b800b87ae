-- The bells that wake who waits for runs, and what the usual submit and claim need of where runs
-- wait; the rest is in lines.lua. A part of common.

-- A doorbell holds at most one token, which wakes at most one waiter.
local function ring(bell)
  local key = P .. 'b:' .. bell
  if redis.pcall('LLEN', key) == 0 then call('RPUSH', key, '1') end
end

local rung = {} -- queues whose bell has rung in this call
local function ring_once(queue)
  if rung[queue] then return end
  ring(queue)
  rung[queue] = true
end

local function next_due()
  local first = call('ZRANGE', P .. 'due', 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) or -1
end

-- Makes up to MANY new runs ready, in order. Their records say so already; their queue is a list.
local MANY = 500
local function ready_all(ids, queue, priority)
  call('RPUSH', P .. 'q:' .. queue .. ':' .. priority, unpack(ids))
  ring_once(queue)
end
