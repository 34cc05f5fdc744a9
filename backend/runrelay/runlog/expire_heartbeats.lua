-- Forgets heartbeats that nobody has renewed meanwhile.
--
-- KEYS  1 the sorted set of heartbeats
-- ARGV  1 the time up to which they are old, in Unix ms   2… run ids

for i = 2, #ARGV do
  local last = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if last and (tonumber(last) or 0) <= tonumber(ARGV[1]) then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
