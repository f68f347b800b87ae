#!lua flags=allow-oom
--#include common
-- Makes everything happen that is due (d → q, expiries, rate limit tokens).
--
-- KEYS[1]  prefix
-- Returns  {how many members were due (100 means: call again), now, next due or -1}
local moved = promote(LOOKAHEAD)
flush_counts()
return { moved, NOW, next_due() }
