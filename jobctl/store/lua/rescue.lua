#!lua flags=allow-oom
--#include common
-- Takes back what a dead supervisor, or one dead pool of a live one, had claimed
-- (c → q, x or v; r → q, x or v), at most 100 runs a call.
--
-- KEYS[1]  prefix
-- ARGV     supervisor id, the beat it was last seen with ("" = known to be dead), owner id or "",
--          then, at most 100 times, run id and epoch: with them only these claims are taken back,
--          and the owner goes on
-- Returns  {status, moved, left}: status 1 = fenced, 0 = it lives, nothing was done;
--          left > 0: call again
-- Fencing comes first: from then on a late claim, start or settle of that owner is refused.
local supervisor, seen, only = ARGV[1], ARGV[2], ARGV[3]
local key = P .. 'sup:' .. supervisor
local beat = call('HGET', key, 'beat')
if seen ~= '' and beat and beat ~= seen then return { 0, 0, 0 } end
local owners
if only ~= '' then
  owners = { only }
else
  owners = call('SMEMBERS', P .. 'pools:' .. supervisor)
  if call('EXISTS', key) == 1 then call('HSET', key, 'st', 'lost') end
end

local LOST_MOST, CLAIMS_MOST = 3, 5

local function poison(r, fence, why)
  local more = { 'er', why }
  for _, item in ipairs(fence) do more[#more + 1] = item end
  finish(r, 'x', 'poison', more)
end

local function take_back(id, owner)
  local r = load(id)
  if not r or r.o ~= owner or (r.s ~= 'c' and r.s ~= 'r') then return end
  -- A new epoch: whatever the old owner still says of this run is stale.
  local fence = { 'ep', tonumber(r.ep) + 1 }
  if r.cx then
    finish(r, 'v', string.match(r.cx, '^%S+'), fence)
  elseif r.s == 'c' then
    local claims = (tonumber(r.cl or '') or 0) + 1
    call('HSET', record(id), 'cl', claims)
    if claims >= CLAIMS_MOST then poison(r, fence, 'whoever had claimed it died five times before it started; it is not run again') else put_back(r) end
  else
    local lost = (tonumber(r.ls or '') or 0) + 1
    call('HSET', record(id), 'ls', lost, 'rs', 'lost')
    if r.ol == 'f' then
      finish(r, 'x', 'lost', fence)
    elseif lost >= LOST_MOST then
      poison(r, fence, 'whoever ran it died three times while it ran; it is not run again')
    else
      call('HDEL', record(id), 'pg')
      put_back(r)
    end
  end
  count('rescued')
end

local moved, left = 0, 0
if #ARGV > 3 then
  for i = 4, #ARGV, 2 do
    -- A call that comes late must not take what was claimed anew since.
    if call('SISMEMBER', P .. 'own:' .. only, ARGV[i]) == 1
      and (redis.pcall('HGET', record(ARGV[i]), 'ep') or '0') == ARGV[i + 1] then
      guarded(take_back, ARGV[i], only)
      call('SREM', P .. 'own:' .. only, ARGV[i])
      moved = moved + 1
    end
  end
  flush_counts()
  return { 1, moved, 0 }
end
for _, owner in ipairs(owners) do
  local own = P .. 'own:' .. owner
  call('SREM', P .. 'pools:' .. supervisor, owner)
  local ids = redis.pcall('SRANDMEMBER', own, LOOKAHEAD - moved)
  for _, id in ipairs(ids) do
    guarded(take_back, id, owner)
    call('SREM', own, id)
  end
  moved = moved + #ids
  local rest = redis.pcall('SCARD', own)
  if type(rest) ~= 'number' then rest = 0 end
  if rest > 0 then call('SADD', P .. 'pools:' .. supervisor, owner) end
  left = left + rest
  if moved >= LOOKAHEAD then break end
end
if only == '' then
  left = call('SCARD', P .. 'pools:' .. supervisor)
  left = left + give_notices(supervisor, LOOKAHEAD)
  if left == 0 then
    call('SREM', P .. 'sups', supervisor)
    call('DEL', P .. 'mb:' .. supervisor, P .. 'b:@' .. supervisor)
    call('DEL', P .. 'b:@out:' .. supervisor)
    if call('EXISTS', key) == 1 then call('EXPIRE', key, 3600) end
  end
end
flush_counts()
return { 1, moved, left }
