-- Reads one run in one atomic step: the snapshot, the newest log lines, and the events after a cursor.
--
-- KEYS  1 the run's hash  2 its stream of events  3 its list of log lines
-- ARGV  1 the cursor's epoch, or "" for no events   2 the cursor's seq   3 bytes of events at most
--       4 log lines at most (0: none)               5 bytes of log lines at most
--       6… names of the hash's fields to read
-- Returns {values of the hash's fields (epoch, seq, steps, false, false, then those that were asked for), events or false, log lines newest first,
--          how many lines are kept, the steps, how many lines were trimmed}
--         no values at all: there is no such key
--         events are false when those after the cursor are not all there, or are more than fits
--
-- The hash is read by field names and never as a whole, because it has a mark of each producer.

local CHUNK, EVENTS = 1000, 250
local values = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'steps', 'step_names', 'lines_trimmed', unpack(ARGV, 6))
local log_epoch, seq, sums, names, trimmed = values[1], tonumber(values[2]), values[3], values[4], values[5]
if not log_epoch and redis.call('EXISTS', KEYS[1]) == 0 then return {{}, false, {}, 0, {}, false} end
values[4], values[5] = false, false

local steps, missing = {}, 0
local function take(fields)
  steps, missing = {}, 0
  for from = 1, #fields, CHUNK do
    for _, step in ipairs(redis.call('HMGET', KEYS[1], unpack(fields, from, math.min(from + CHUNK - 1, #fields)))) do
      if step then steps[#steps + 1] = step else missing = missing + 1 end
    end
  end
end
local count = sums and tonumber(string.match(sums, '"count":(%d+)')) or 0
if count > 0 then
  local fine, fields = pcall(cjson.decode, names or '[]')
  fields = fine and type(fields) == 'table' and fields or {}
  for i, name in ipairs(fields) do fields[i] = 's:' .. tostring(name) end
  if #fields == count then take(fields) end
  if #fields ~= count or missing > 0 then  -- written by an older version, which keeps no `step_names`
    fields = {}
    for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
      if string.sub(field, 1, 2) == 's:' then fields[#fields + 1] = field end
    end
    take(fields)
  end
end

local events = false
local epoch, after = ARGV[1], tonumber(ARGV[2])
-- "0" is the epoch of a cursor before any log: the events from the start of this log follow it
if (epoch == log_epoch or epoch == '0') and after <= seq then
  events = {}
  if after < seq then
    local bytes, from, found = 0, after + 1 .. '-0', nil
    repeat  -- in portions, up to the bytes that are asked for: 1,000 of the largest events are some hundred MB
      found = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', EVENTS)
      for _, entry in ipairs(found) do
        events[#events + 1] = entry[2][2]
        bytes = bytes + #entry[2][2]
        from = '(' .. entry[1]
      end
    until #found < EVENTS or bytes > tonumber(ARGV[3])
    -- all events up to the last one, or none
    local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
    if #events ~= seq - after or bytes > tonumber(ARGV[3]) or last[1][1] ~= seq .. '-0' then events = false end
  elseif redis.call('EXISTS', KEYS[2]) == 0 then
    events = false
  end
end

local lines, taken, room = {}, 0, tonumber(ARGV[5])
local kept = redis.call('LLEN', KEYS[3])
local length = math.min(kept, tonumber(ARGV[4]))
while taken < length and room > 0 do
  local chunk = redis.call('LRANGE', KEYS[3], -math.min(taken + 50, length), -(taken + 1))
  for i = #chunk, 1, -1 do
    room = room - #chunk[i]
    if room < 0 then break end
    lines[#lines + 1] = chunk[i]
  end
  taken = taken + #chunk
end
return {values, events, lines, kept, steps, trimmed}
