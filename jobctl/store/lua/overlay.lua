#!lua
--#include common
--#include decided
-- Changes one schedule that is kept in the store, beside jobs.toml or over a schedule of it.
--
-- KEYS[1]  prefix
-- ARGV     name, the record that the caller has read ("" = none), the new one ("" = remove it),
--          what is done (add, set, unset; or rm: all that is known of the schedule goes too), who
-- Returns  {answer, version}: ok, or changed (somebody else was first); the version counts changes
local LIVE, VERSION = P .. 'ls', P .. 'lsv'
local name = ARGV[1]
local record = call('HGET', LIVE, name)
local version = tonumber(call('GET', VERSION) or '0') or 0
if (record or '') ~= ARGV[2] then return { 'changed', version } end
local before = call('TYPE', P .. 's:' .. name).ok
version = version + 1
call('SET', VERSION, version)
if ARGV[3] ~= '' then
  call('HSET', LIVE, name, ARGV[3])
  note_decision(name, NOW, ARGV[4], '', '', 0, ARGV[5])
else
  call('HDEL', LIVE, name)
  if ARGV[4] == 'rm' then
    if before == 'hash' then call('UNLINK', P .. 's:' .. name) end
    if call('TYPE', P .. 'sh:' .. name).ok == 'list' then call('UNLINK', P .. 'sh:' .. name) end
  else
    note_decision(name, NOW, ARGV[4], '', '', 0, ARGV[5])
  end
end
-- Every supervisor learns of it with its next beat, and now is the time for one.
local supervisors = redis.pcall('SMEMBERS', P .. 'sups')
if not supervisors.err then
  for _, id in ipairs(supervisors) do pcall(ring, '@' .. id) end
end
return { 'ok', version }
