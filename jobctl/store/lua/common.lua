-- Shared by every script. Keys are derived from the namespace prefix KEYS[1], which carries the
-- only hash tag, so all of them are in one slot. Field and key names: store/keys.py.
--
-- Rules: every check before the first write; TIME is the only clock; values arrive flat in ARGV;
-- ready() and ready_all() are the only pushes, finish() the only way to a final state, loops are bounded.
local P = KEYS[1]
local call = redis.call
local LOOKAHEAD = 100

local time = call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)
-- What is written for every run: numbers take longer to hand over than texts.
local NOW_TEXT = string.format('%.0f', NOW)

-- How the keys are laid out. A namespace laid out by a newer program is left alone.
local SCHEMA = 1
local schema = redis.pcall('GET', P .. 'schema')
schema = type(schema) == 'string' and tonumber(schema) or 0
if schema > SCHEMA then
  return redis.error_reply('SCHEMA ' .. schema .. ' is in use, this jobctl knows ' .. SCHEMA)
end

local counts = {}
local function count(name, by) counts[name] = (counts[name] or 0) + (by or 1) end
local function flush_counts()
  for name, by in pairs(counts) do redis.pcall('HINCRBY', P .. 'n', name, by) end
end

local R = P .. 'r:'
local function record(id) return R .. id end

--#include records
--#include seldom
--#include bells
--#include lines
--#include slots
--#include notices
--#include moves
