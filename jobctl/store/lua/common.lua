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

local FINAL = { k = true, x = true, v = true, e = true, s = true }

local let_go, announce

-- Puts a run aside whose record cannot be understood, so that nobody meets it twice. A hash is
-- ours and fails, unless it has ended; anything else under that name is left as it is.
local BAD_MOST, BAD_KEEP = 1000, 604800000
local function set_aside(id)
  redis.pcall('LPUSH', P .. 'bad', id)
  redis.pcall('LTRIM', P .. 'bad', 0, BAD_MOST - 1)
  count('bad')
end
local function quarantine(id, why)
  set_aside(id)
  local key = record(id)
  if call('TYPE', key).ok == 'hash' then
    local v = call('HMGET', key, 'lm', 'uq', 'j', 'o', 's', 'nt', 'at')
    if not FINAL[v[5]] then
      call('HSET', key, 's', 'x', 'rs', 'bad_payload', 'er', tostring(why), 'fn', NOW)
      local nt = v[3] and v[6] or nil
      announce({ id = id, j = v[3], o = v[4] or nil, nt = nt, at = v[7] or nil }, 'x', 'bad_payload', { 'er', tostring(why) })
    end
    if call('PTTL', key) == -1 then call('PEXPIRE', key, BAD_KEEP) end
    if v[4] then redis.pcall('SREM', P .. 'own:' .. v[4], id) end
    redis.pcall('ZREM', P .. 'due', id, '^' .. id)
    pcall(let_go, { id = id, lm = v[1], uq = v[2], lv = v[3] and '' or nil, j = v[3] })
  end
end

-- Runs an action on a run that may be broken in ways load() does not see.
local function guarded(action, id, ...)
  local ok, answer = pcall(action, id, ...)
  if ok then return answer end
  local why = tostring(type(answer) == 'table' and answer.err or answer)
  -- That is an error of a script, which must not cost runs.
  if string.find(why, 'nonexistent global', 1, true) then error(answer, 0) end
  quarantine(id, why)
  return nil
end

-- Returns a run's record as a table, given what HGETALL says of it; nil when there is no such run or
-- it is broken.
local EPOCH_DIGITS = 15
local DIGIT = {}
for p = 0, 9 do DIGIT[tostring(p)] = true end
local function is_number(text) return text ~= '' and not string.find(text, '%D') end
local function understood(id, key, v)
  if v.err then
    quarantine(id, v.err)
    return nil
  end
  -- Made for as many fields as most have: one that grows costs more than all that is put into it.
  local r = { s = nil, q = nil, p = nil, j = nil, t = nil, e = nil, kp = nil, o = nil, ep = nil, ct = nil, id = nil, key = nil }
  for i = 1, #v, 2 do r[v[i]] = v[i + 1] end
  if not r.s then return nil end
  r.id, r.key = id, key
  -- An epoch beyond what a number holds exactly would fence nobody.
  if not (r.q and r.j and DIGIT[r.p] and is_number(r.ep or '0') and #(r.ep or '') <= EPOCH_DIGITS) then
    quarantine(id, 'its record lacks a job, a queue, a priority or an epoch')
    return nil
  end
  r.xp = r.xp and tonumber(r.xp)
  return r
end

-- One HGETALL costs a fifth less than naming the two dozen fields that moves decide on.
local function load(id)
  local key = record(id)
  return understood(id, key, redis.pcall('HGETALL', key))
end

-- True when there is nothing at all of a run that was known: the store lost data.
local function gone(id) return call('EXISTS', record(id)) == 0 end

local function words(text)
  local out = {}
  if text then for word in string.gmatch(text, '%S+') do out[#out + 1] = word end end
  return out
end

-- True while the run is neither final nor forgotten nor broken.
local function alive(id)
  local state = redis.pcall('HGET', record(id), 's')
  return type(state) == 'string' and not FINAL[state]
end

--#include lines
--#include slots
--#include notices
--#include moves
