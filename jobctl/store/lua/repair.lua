#!lua flags=allow-oom
--#include common
-- Mends what a reading of the whole namespace found. Each item is judged anew here: what is right
-- by now stays as it is, so a repeat does nothing. No run is taken from a claim; one that nobody
-- can have gets an owner that does not exist, from whom rescue takes it as from any dead one.
--
-- KEYS[1]  prefix
-- ARGV     per item: the number of its words, then
--          run ID [absent|"" [OWNER]] | q QUEUE:PRIORITY ID | pk LIMIT ID | own OWNER ID | due MEMBER | c LIMIT ID |
--          u DIGEST | live JOB ID | parked LIMIT | bell NAME | owner OWNER | supervisor SID |
--          h ID KEY … (no key: it is in no history) | log ID | mailbox SID | outbox SID | type NAME TYPE
-- Returns  per item: what was done in words, "" when there was nothing to do, or "- " and why not
local NOBODY = 'nobody'
local LONG = 10000 -- entries from which a list is not searched before an absent id is put into it
local BEATS = 60000 -- ms since its last beat in which a supervisor counts as living
local LETTERS = { d = true, q = true, p = true, w = true, c = true, r = true }
local did

local function add(text) did[#did + 1] = text end

local function living(owner)
  local v = redis.pcall('HMGET', P .. 'sup:' .. (string.match(owner, '^([^/]+)/') or ''), 'st', 'bt')
  return v[1] == 'up' and NOW - (tonumber(v[2] or '') or 0) < BEATS
end

local function has_limit(r, limit)
  for _, one in ipairs(words(r.lm)) do if one == limit then return true end end
  return false
end

-- Makes sure that somebody will notice when this owner is dead. False when it was so already.
local function enlist(owner)
  local sid = string.match(owner, '^([^/]+)/') or owner
  local pool = call('SADD', P .. 'pools:' .. sid, owner)
  return call('SADD', P .. 'sups', sid) + pool > 0
end

-- Leaves one entry of a run in a list, or puts one there. That there is none is believed of long
-- lists, where a second entry costs nothing but being passed over.
local function one_entry(list, id, absent, push)
  local believed = absent and call('LLEN', list) > LONG
  local found = believed and {} or call('LPOS', list, id, 'COUNT', 2)
  if #found == 0 then return push() end
  local more = 0
  while #found > 1 do
    more = more + call('LREM', list, -1, id)
    found = call('LPOS', list, id, 'COUNT', 2)
  end
  if more > 0 then add('took ' .. more .. ' more entries out of its list') end
end

local function requeue(r)
  call('HSET', record(r.id), 's', 'q')
  r.s = 'q'
  ready(r.id, r.q, r.p, false)
  add('queued it')
end

local CONTAIN = {}
function CONTAIN.d(r)
  if call('ZSCORE', P .. 'due', r.id) then return end
  due_at(r.id, tonumber(r.nb or '') or NOW)
  add('put it back among what is due')
end
function CONTAIN.q(r, absent)
  one_entry(P .. 'q:' .. r.q .. ':' .. r.p, r.id, absent, function()
    ready(r.id, r.q, r.p, false)
    add('put it back into its queue')
  end)
end
function CONTAIN.p(r, absent)
  if not r.pl or not (has_limit(r, r.pl) or r.pl == 'q:' .. r.q) then return requeue(r) end
  one_entry(P .. 'pk:' .. r.pl, r.id, absent, function()
    call('RPUSH', P .. 'pk:' .. r.pl, r.id)
    add('parked it again')
  end)
  if not call('ZSCORE', P .. 'due', '!' .. r.pl) then due_at('!' .. r.pl, NOW) end
end
function CONTAIN.c(r, _, holder)
  if not r.o and holder and call('SISMEMBER', P .. 'own:' .. holder, r.id) == 1 then
    r.o = holder
    call('HSET', record(r.id), 'o', holder)
    add('named ' .. holder .. ' its owner again')
  end
  if not r.o or tonumber(r.ep or '0') < 1 then
    if r.o and living(r.o) then return 'its owner lives and has to give it up itself' end
    r.o = NOBODY .. '/' .. NOBODY
    call('HSET', record(r.id), 'o', r.o, 'ep', math.max(tonumber(r.ep or '0'), 1))
    add('gave it to nobody, from whom it is rescued')
  end
  if call('SADD', P .. 'own:' .. r.o, r.id) > 0 then add('put it back among the claims of ' .. r.o) end
  if enlist(r.o) then add('listed its owner') end
end
CONTAIN.r = CONTAIN.c

local function mend_locks(r)
  local claimed = r.s == 'c' or r.s == 'r'
  for _, limit in ipairs(words(r.lm)) do
    if not is_rate(limit) then
      local changed = call(claimed and 'SADD' or 'SREM', P .. 'c:' .. limit, r.id)
      if changed > 0 then add((claimed and 'gave it its slot of ' or 'took from it its slot of ') .. limit) end
      if changed > 0 and not claimed then try_wake(limit) end
    end
  end
  if r.uq then
    local holder = call('GET', P .. 'u:' .. r.uq)
    local other = holder and holder ~= r.id and alive(holder)
    if other and redis.pcall('HGET', record(holder), 'uq') == r.uq then
      call('HDEL', record(r.id), 'uq')
      add('let ' .. holder .. ' alone have their unique lock')
    elseif holder ~= r.id then
      call('SET', P .. 'u:' .. r.uq, r.id)
      add('gave it its unique lock')
    end
  end
  if r.lv and (r.s ~= 'd' or r.at) and call('SADD', P .. 'live:' .. r.j, r.id) > 0 then
    add('counted it among the unfinished runs of its job')
  end
end

local function retention(r)
  local keep, ttl, failed = string.match(r.kp or '', '^(%d+):(%d+):(%d*)$')
  if not keep then keep, ttl, failed = '10000', '604800000', '' end
  return ttl, (r.s == 'x' and failed ~= '') and 'hf:' .. r.j or 'h:' .. r.j
end

local MEND = {}

function MEND.run(id, absent, holder)
  if call('TYPE', record(id)).ok ~= 'hash' then return '' end
  local state = call('HGET', record(id), 's')
  if not (state and (LETTERS[state] or FINAL[state])) then
    quarantine(id, 'it had no known state')
    return 'failed it as bad_payload'
  end
  local r = load(id)
  if not r then return FINAL[state] and '' or 'failed it as bad_payload' end
  if FINAL[state] then
    if call('PTTL', record(id)) == -1 then
      call('PEXPIRE', record(id), (retention(r)))
      add('let its record expire')
    end
    return nil
  end
  if call('PERSIST', record(id)) == 1 then add('kept its record from expiring') end
  local why = CONTAIN[state] and CONTAIN[state](r, absent == 'absent', holder)
  if why then return '- ' .. why end
  mend_locks(r)
  if r.xp and not r.at and r.s ~= 'c' and r.s ~= 'r' and not call('ZSCORE', P .. 'due', '^' .. id) then
    due_at('^' .. id, r.xp)
    add('put its expiry back among what is due')
  end
end

local function drop(id, list, belongs)
  if not belongs then
    return call('LREM', list, 0, id) > 0 and 'took it out' or ''
  end
  one_entry(list, id, false, function() end)
end

local function facts(id)
  local v = redis.pcall('HMGET', record(id), 's', 'q', 'p', 'pl', 'o', 'lm', 'uq', 'j', 'ep')
  if v.err then return {} end
  return { s = v[1], q = v[2], p = v[3], pl = v[4], o = v[5], lm = v[6] or '', uq = v[7], j = v[8] }
end

function MEND.q(place, id)
  local r = facts(id)
  return drop(id, P .. 'q:' .. place, r.s == 'q' and place == (r.q or '') .. ':' .. (r.p or ''))
end

function MEND.pk(limit, id)
  local r = facts(id)
  return drop(id, P .. 'pk:' .. limit, r.s == 'p' and r.pl == limit)
end

function MEND.own(owner, id)
  local r = facts(id)
  if (r.s == 'c' or r.s == 'r') and r.o == owner then return '' end
  -- An owner that runs it all the same misses the entry within seconds: it claims the run again, or
  -- stops what runs when somebody else has it.
  return call('SREM', P .. 'own:' .. owner, id) > 0 and 'took it out' or ''
end

function MEND.due(member)
  local expiry = string.sub(member, 1, 1) == '^'
  local id = expiry and string.sub(member, 2) or member
  if expiry and call('TYPE', record(id)).ok == 'hash' then return '' end
  if not expiry and facts(id).s == 'd' then return '' end
  return call('ZREM', P .. 'due', member) > 0 and 'took it out' or ''
end

function MEND.c(limit, id)
  local r = facts(id)
  if (r.s == 'c' or r.s == 'r') and has_limit(r, limit) then return '' end
  if call('SREM', P .. 'c:' .. limit, id) == 0 then return '' end
  try_wake(limit)
  return 'freed the slot'
end

function MEND.u(digest)
  local holder = call('GET', P .. 'u:' .. digest)
  if not holder or (alive(holder) and facts(holder).uq == digest) then return '' end
  call('DEL', P .. 'u:' .. digest)
  return 'freed the lock'
end

function MEND.live(job, id)
  if alive(id) and facts(id).j == job then return '' end
  return call('SREM', P .. 'live:' .. job, id) > 0 and 'took it out' or ''
end

function MEND.parked(limit)
  if call('LLEN', P .. 'pk:' .. limit) == 0 or call('ZSCORE', P .. 'due', '!' .. limit) then return '' end
  due_at('!' .. limit, NOW)
  return 'they are looked at now'
end

function MEND.bell(name)
  local key, tokens = P .. 'b:' .. name, call('LLEN', P .. 'b:' .. name)
  if tokens > 1 then
    call('LTRIM', key, 0, 0)
    return 'left one token'
  end
  for p = 0, 9 do
    if tokens == 0 and call('EXISTS', P .. 'q:' .. name .. ':' .. p) == 1 then
      ring(name)
      return 'rang it'
    end
  end
end

function MEND.owner(owner)
  if call('SCARD', P .. 'own:' .. owner) == 0 then return '' end
  return enlist(owner) and 'listed it, so that it is rescued when it is dead' or ''
end

function MEND.supervisor(sid)
  if call('SCARD', P .. 'pools:' .. sid) == 0 then return '' end
  return call('SADD', P .. 'sups', sid) > 0 and 'listed it, so that it is rescued when it is dead' or ''
end

function MEND.h(id, ...)
  local r = load(id)
  local ended = r and FINAL[r.s]
  local _, own
  if r then _, own = retention(r) end
  local keys = { ... }
  if #keys == 0 then
    if not ended or call('LPOS', P .. own, id) then return '' end
    call('LPUSH', P .. own, id)
    return 'put it into its history'
  end
  local kept, gone_from = false, 0
  for _, key in ipairs(keys) do
    local times = #call('LPOS', P .. key, id, 'COUNT', 0)
    local keep = ended and not kept and times > 0 and (key == own or #keys == 1)
    if keep then kept, times = true, times - 1 end
    for _ = 1, times do gone_from = gone_from + call('LREM', P .. key, -1, id) end
  end
  if ended and not kept then call('LPUSH', P .. own, id) end
  return gone_from > 0 and 'took ' .. gone_from .. ' entries out of its history' or ''
end

function MEND.log(id)
  if call('PTTL', P .. 'l:' .. id) ~= -1 then return '' end
  call('PEXPIRE', P .. 'l:' .. id, BAD_KEEP)
  return 'it expires in a week'
end

function MEND.mailbox(sid)
  if call('EXISTS', P .. 'sup:' .. sid) == 1 or call('SISMEMBER', P .. 'sups', sid) == 1 then return '' end
  return call('DEL', P .. 'mb:' .. sid, P .. 'b:@' .. sid) > 0 and 'deleted it' or ''
end

function MEND.outbox(sid)
  local known = call('EXISTS', P .. 'sup:' .. sid) + call('SISMEMBER', P .. 'sups', sid)
  if known > 0 or call('EXISTS', P .. 'out:' .. sid) == 0 then return '' end
  give_notices(sid, LONG)
  return 'gave them to whoever delivers them'
end

function MEND.type(name, wanted)
  local kind = call('TYPE', P .. name).ok
  if kind == wanted or kind == 'none' then return '' end
  local place = 'aside:' .. NOW .. ':' .. name
  call('RENAME', P .. name, P .. place)
  call('PEXPIRE', P .. place, BAD_KEEP)
  return 'renamed it to ' .. place .. ', which expires in a week'
end

local out = {}
local i = 1
while i <= #ARGV do
  local size = tonumber(ARGV[i])
  did = {}
  local ok, answer = pcall(MEND[ARGV[i + 1]], unpack(ARGV, i + 2, i + size))
  if not ok then
    answer = '- ' .. tostring(type(answer) == 'table' and answer.err or answer)
  elseif not answer or (answer == '' and #did > 0) then
    answer = table.concat(did, ', ')
  end
  out[#out + 1] = answer
  i = i + size + 1
end
flush_counts()
return out
