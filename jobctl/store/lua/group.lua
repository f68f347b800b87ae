-- What runs that are submitted together have in common; shared by submit, boot and tick.
--
-- g: the group's job, queue, priority p, mx, lm, ov, kp, ol, ml, nt, ik; n: id, e, nb, xp, uq.
-- ik is how many ms ids that were given are known after the end of their runs; "" for ids made up.
-- nb and xp are "", "+ms" from now, or absolute ms; g.dl is "" or ms after the due time.

-- Reads a group header that starts at ARGV[i]; returns it and the index of what follows.
local GROUP = { 'job', 'queue', 'p', 'mx', 'lm', 'ov', 'kp', 'ol', 'ml', 'dl', 'nt', 'ik' }
local function read_group(i)
  local g = {}
  for k, name in ipairs(GROUP) do g[name] = ARGV[i + k - 1] end
  return g, i + #GROUP
end

-- Raises, before anything is written, when a key of another type is where the run must go.
local function fits(g, n, later, expires, watched)
  if later or expires then call('ZCARD', P .. 'due') end
  if not later then call('LLEN', P .. 'q:' .. g.queue .. ':' .. g.p) end
  if watched then call('SCARD', P .. 'live:' .. g.job) end
end

local function put(set, name, value)
  if value and value ~= '' then set[#set + 1] = name; set[#set + 1] = value end
end

-- Returns what the record of a new run has from its group, its envelope and its state.
local ENVELOPE = 4
local function record_of(g, envelope, letter)
  local set = { 's', letter, 'e', envelope, 'q', g.queue, 'p', g.p, 'j', g.job, 't', NOW_TEXT }
  if g.mx ~= '1' then put(set, 'mx', g.mx) end
  put(set, 'lm', g.lm)
  put(set, 'kp', g.kp)
  put(set, 'ol', g.ol)
  put(set, 'nt', g.nt)
  put(set, 'ik', g.ik)
  return set
end

-- Returns the answer to a run whose id is known, nil when it is not: by its record, of which `letter` is
-- the state if there is one, or, when it was given, by what its end left of it. The id of an instant is
-- that of its schedule, whichever job this has by now.
local function repeated(g, id, letter, scheduled)
  local job
  if letter then
    job = redis.pcall('HGET', record(id), 'j')
  else
    local left = g.ik ~= '' and redis.pcall('GET', P .. 'id:' .. id)
    if type(left) ~= 'string' then return nil end
    letter, job = string.match(left, '^(%l) (.*)$')
  end
  if type(job) == 'string' and job ~= g.job and not scheduled then return 'other ' .. job end
  return 'dup ' .. (type(letter) == 'string' and letter or 'x')
end
