-- Reads one run in one atomic step: the snapshot, the newest log lines, and the events after a cursor.
--
-- KEYS  1 the run's hash  2 its stream of events  3 its list of log lines
-- ARGV  1 the cursor's epoch, or "" for no events   2 the cursor's seq   3 bytes of events at most
--       4 log lines at most (0: none)               5 bytes of log lines at most
-- Returns {fields of the hash as a flat list, events or false, log lines newest first, how many there are}
--         events are false when those after the cursor are not all there, or are more than fits

-- By name, and never the whole hash: with each process that has spoken of the run it has a mark in there.
local FIELDS = {'epoch', 'seq', 'state', 'status', 'progress', 'attempt', 'title', 'pipeline', 'error', 'created_at', 'started_at',
  'updated_at', 'finished_at', 'result', 'fenced', 'seal_key', 'input', 'steps', 'step_names'}
local all, hash = {}, {}
local function take(names)
  for from = 1, #names, 1000 do
    local found = redis.call('HMGET', KEYS[1], unpack(names, from, math.min(from + 999, #names)))
    for i, value in ipairs(found) do
      local name = names[from + i - 1]
      if value then hash[name], all[#all + 1], all[#all + 2] = value, name, value end
    end
  end
end
take(FIELDS)
if #all == 0 then return {redis.call('EXISTS', KEYS[1]) == 1 and {'', ''} or all, false, {}, 0} end  -- somebody else's, or none

local sums_fine, sums = pcall(cjson.decode, hash.steps or '{}')
local count = sums_fine and type(sums) == 'table' and tonumber(sums.count) or 0
if count > 0 then
  local index_fine, names = pcall(cjson.decode, hash.step_names or '[]')
  names = index_fine and type(names) == 'table' and names or {}
  for i, name in ipairs(names) do names[i] = 's:' .. tostring(name) end
  local before = #all
  if #names == count then take(names) end
  if #all ~= before + 2 * count then  -- an older version keeps no index, and does not know of this one
    names = {}
    for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
      if string.sub(field, 1, 2) == 's:' and not hash[field] then names[#names + 1] = field end
    end
    take(names)
  end
end
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
