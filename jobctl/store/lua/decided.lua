-- What is written down of every decision on a schedule; shared by tick, boot and what changes one.

-- A schedule that is neither introduced nor decided for 400 days was removed: it is forgotten.
-- That of boots is kept for ten years: a host may be up for long, and must not repeat its boot.
local FORGOTTEN, BOOT_FORGOTTEN = 34560000000, 315360000000
local HISTORY = 200
local function lasts(name, ms)
  redis.pcall('PEXPIRE', P .. 's:' .. name, ms or FORGOTTEN)
  redis.pcall('PEXPIRE', P .. 'sh:' .. name, ms or FORGOTTEN)
end

-- Adds a line to a schedule's history: instant ms, kind, answer, run id, lag in ms, who.
-- How many lines the history has lost is counted in its field `cut`.
local function note_decision(name, ...)
  local list = P .. 'sh:' .. name
  local length = redis.pcall('LPUSH', list, table.concat({ ... }, '|'))
  if type(length) == 'number' and length > HISTORY then
    redis.pcall('LTRIM', list, 0, HISTORY - 1)
    redis.pcall('HINCRBY', P .. 's:' .. name, 'cut', length - HISTORY)
  end
  lasts(name)
end
