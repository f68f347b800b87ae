-- The bells that wake who waits for runs, and what else the usual submit and claim need of where runs
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

local MANY = 500 -- arguments of one command
