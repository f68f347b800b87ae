#!lua
--#include common
-- Decides whether a running run is the first to do something, over all runs of its job.
--
-- KEYS[1]  prefix
-- ARGV     owner id, run id, epoch, job, key, step, token, ttl ms
--          first   take it for good
--          begin   take it until it is finished; the next attempt of the same run may take it over,
--                  and so may any run once the one that took it is final
--          finish  what this attempt has begun is done
--          leave   what this attempt has begun is given back
--          A token makes repeating a call harmless.
-- Returns  1 yes, 0 no, -1 the run is not this owner's any more
--
-- The key holds "d" for what is done and else "b"; behind it run, epoch and token.
local owner, id, epoch, token, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[7], ARGV[8]
local key, step = P .. 'on:' .. ARGV[4] .. ':' .. ARGV[5], ARGV[6]
local r = redis.pcall('HMGET', record(id), 'o', 'ep', 's')
if r.err or r[1] ~= owner or r[2] ~= epoch or (r[3] ~= 'c' and r[3] ~= 'r') then return -1 end

local mine = id .. ' ' .. epoch .. ' ' .. token
local found = redis.pcall('GET', key)
if type(found) ~= 'string' then found = '' end
local state, rest = string.sub(found, 1, 1), string.sub(found, 3)
local holder, held_epoch = string.match(rest, '^(%S+) (%S+) ')

local function put(letter)
  call('SET', key, letter .. ' ' .. mine, 'PX', ttl)
  return 1
end

-- Returns whether the block that another attempt began can no longer be finished.
local function abandoned()
  if holder == id then return held_epoch ~= epoch end
  local other = redis.pcall('HGET', record(holder or ''), 's')
  return type(other) ~= 'string' or FINAL[other] or false
end

if step == 'first' then
  if state == '' then return put('d') end
  return state == 'd' and rest == mine and 1 or 0
elseif step == 'begin' then
  if state == '' or state == 'b' and (rest == mine or abandoned()) then return put('b') end
  return 0
elseif state ~= 'b' or holder ~= id or held_epoch ~= epoch then
  return 0
elseif step == 'finish' then
  return put('d')
end
call('DEL', key)
return 1
