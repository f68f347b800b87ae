-- Reading records of runs. A part of common.

local quarantine

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
local DIGIT = {
  ['0'] = true, ['1'] = true, ['2'] = true, ['3'] = true, ['4'] = true,
  ['5'] = true, ['6'] = true, ['7'] = true, ['8'] = true, ['9'] = true,
}
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
