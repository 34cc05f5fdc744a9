-- Part of commit.lua: trim. Keeps the list of log lines within its bounds, and counts the lines that go.
--
-- It runs once in TRIM_EVERY lines, so a list may have so many lines more than `lines_kept`, or their bytes more. A line's
-- number in its run is `lines_trimmed` and its position in the list, so nothing has to be counted at each commit. `log_bytes`
-- are the bytes of the run's lines up to number `log_counted`, as far as they are in the list. If the list was lost, it is
-- counted again. Other clients can write anything into these fields, and an error here would come after the first write.
-- A user without the right to LRANGE bounds the lines only.

local function natural(text) return tonumber(string.match(text or '', '^%d%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?$') or 0) end
local was = redis.call('HMGET', hash, 'lines_trimmed', 'log_bytes', 'log_counted')
local trimmed, bytes, counted = natural(was[1]), natural(was[2]), natural(was[3])
local fresh = trimmed + length - counted
if is_new or fresh < 0 or fresh >= length then bytes, fresh = 0, length end
local first, known = math.max(0, length - lines_kept), true
local function sizes(from, to)
  local found = redis.pcall('LRANGE', logs, from, to)
  known = known and not found.err
  for i, line in ipairs(known and found or {}) do found[i] = #line end
  return known and found or {}
end
if fresh > 0 then
  for _, size in ipairs(sizes(-fresh, -1)) do bytes = bytes + size end
end
for from = 0, first - 1, TRIM_EVERY do
  for _, size in ipairs(sizes(from, math.min(from + TRIM_EVERY, first) - 1)) do bytes = bytes - size end
end
while known and bytes > bytes_kept and first < length do
  local before = first
  for _, size in ipairs(sizes(first, first + TRIM_EVERY - 1)) do
    if bytes <= bytes_kept then break end
    bytes, first = bytes - size, first + 1
  end
  if first == before then break end  -- the sum was spoilt
end
if first > 0 then redis.call('LTRIM', logs, first, -1) end
set.lines_trimmed = string.format('%d', trimmed + first)
set.log_bytes, set.log_counted = string.format('%d', known and bytes or 0), string.format('%d', known and trimmed + length or 0)
