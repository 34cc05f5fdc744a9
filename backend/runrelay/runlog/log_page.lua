-- Reads consecutive lines of a run's log, in one atomic step, so that no trim comes between number and line.
--
-- KEYS  1 the run's hash  2 its list of log lines
-- ARGV  1 the number of the line after the last one wanted, or "" for the newest lines   2 lines at most   3 their bytes at most
-- Returns {lines trimmed, lines kept, position of the first line in the list, lines in order}; false: there is no such run

local found = redis.call('HMGET', KEYS[1], 'epoch', 'lines_trimmed')
if not found[1] and redis.call('EXISTS', KEYS[1]) == 0 then return false end
local trimmed, kept = tonumber(found[2] or 0) or 0, redis.call('LLEN', KEYS[2])
local stop = math.max(0, math.min(kept, ARGV[1] == '' and kept or tonumber(ARGV[1]) - trimmed - 1))
local first = math.max(0, stop - tonumber(ARGV[2]))
local lines = stop > first and redis.call('LRANGE', KEYS[2], first, stop - 1) or {}
-- The last lines of the page stay, at least one of them.
local bytes, from = 0, #lines + 1
while from > 1 and (from > #lines or bytes + #lines[from - 1] <= tonumber(ARGV[3])) do
  from = from - 1
  bytes = bytes + #lines[from]
end
local page = {}
for i = from, #lines do page[#page + 1] = lines[i] end
return {found[2], kept, first + from - 1, page}
