-- Removes heartbeats that are old, unless a worker has renewed them meanwhile.
--
-- KEYS  1 the sorted set of heartbeats
-- ARGV  1 the time up to which a heartbeat is old, in Unix ms   2… run ids

local alive, old_ms = KEYS[1], tonumber(ARGV[1])
for i = 2, #ARGV do
  local last = redis.call('ZSCORE', alive, ARGV[i])
  if last and (tonumber(last) or 0) <= old_ms then redis.call('ZREM', alive, ARGV[i]) end
end
