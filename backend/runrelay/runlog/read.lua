-- Reads one run in one atomic step: the snapshot, the newest log lines, and the events after a cursor.
--
-- KEYS  1 the run's hash  2 its stream of events  3 its list of log lines
-- ARGV  1 the cursor's epoch, or "" for no events   2 the cursor's seq   3 bytes of events at most
--       4 log lines at most (0: none)               5 bytes of log lines at most
-- Returns {the hash as a flat list, events or false, log lines newest first, how many there are}
--         events are false when those after the cursor are not all there, or are more than fits

local all = redis.call('HGETALL', KEYS[1])
if #all == 0 then return {all, false, {}, 0} end
local hash = {}
for i = 1, #all, 2 do hash[all[i]] = all[i + 1] end
local seq = tonumber(hash.seq)

local events = false
local epoch, after = ARGV[1], tonumber(ARGV[2])
-- "0" is the epoch of a run nobody had heard of: the start of whatever log came
if (epoch == hash.epoch or epoch == '0') and after <= seq then
  events = {}
  if after < seq then
    local bytes = 0
    for _, entry in ipairs(redis.call('XRANGE', KEYS[2], (after + 1) .. '-0', '+')) do
      events[#events + 1] = entry[2][2]
      bytes = bytes + #entry[2][2]
    end
    -- contiguous to the end, or not at all
    local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
    if #events ~= seq - after or bytes > tonumber(ARGV[3]) or last[1][1] ~= seq .. '-0' then events = false end
  elseif redis.call('EXISTS', KEYS[2]) == 0 then
    events = false
  end
end

local lines, taken, room = {}, 0, tonumber(ARGV[5])
local length = math.min(redis.call('LLEN', KEYS[3]), tonumber(ARGV[4]))
while taken < length and room > 0 do
  local chunk = redis.call('LRANGE', KEYS[3], -math.min(taken + 50, length), -(taken + 1))
  for i = #chunk, 1, -1 do
    room = room - #chunk[i]
    if room < 0 then break end
    lines[#lines + 1] = chunk[i]
  end
  taken = taken + #chunk
end
return {all, events, lines, length}
