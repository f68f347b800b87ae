#!lua
--#include common
--#include decided
-- Moves a schedule's last decided instant forward: what lies between is let go.
--
-- KEYS[1]  prefix
-- ARGV     name, last decided instant in ms as the caller knows it, the new one, who
-- Returns  {answer, last}: ok; moved (something was decided meanwhile); future; known (nothing to let go)
local name, seen, target = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key = P .. 's:' .. name
local last = call('HGET', key, 'last')
if not last or last ~= seen then return { 'moved', last or '' } end
if target > NOW then return { 'future', last } end
if target <= tonumber(last) then return { 'known', last } end
call('HSET', key, 'last', target)
note_decision(name, target, 'skip-to', 'from ' .. last, '', 0, ARGV[4])
return { 'ok', tostring(target) }
