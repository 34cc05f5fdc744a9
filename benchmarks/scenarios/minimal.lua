-- The least that a commit could be: a number, the snapshot, the stream, the announcement. What the commit script is put beside.
--
-- KEYS  1 the run's hash   2 its stream
-- ARGV  1 channel   2 state   3 progress   4… messages, each without its end: `,"seq":N}` is added

local count = #ARGV - 3
local seq = redis.call('HINCRBY', KEYS[1], 'seq', count) - count
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'progress', ARGV[3])
for i = 4, #ARGV do
  seq = seq + 1
  local message = ARGV[i] .. ',"seq":' .. seq .. '}'
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, seq .. '-0', 'e', message)
  redis.call('PUBLISH', ARGV[1], message)
end
return seq
