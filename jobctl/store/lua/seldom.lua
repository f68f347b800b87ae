-- What few calls need of records: what is final, gone or broken. A part of common.

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
function quarantine(id, why)
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

-- True when there is nothing at all of a run that was known: the store lost data.
local function gone(id) return call('EXISTS', record(id)) == 0 end

-- True while the run is neither final nor forgotten nor broken.
local function alive(id)
  local state = redis.pcall('HGET', record(id), 's')
  return type(state) == 'string' and not FINAL[state]
end
