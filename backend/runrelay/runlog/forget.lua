-- Forgets heartbeats that nobody has renewed meanwhile. Returns how many.
--
-- KEYS  1 the sorted set of heartbeats
-- ARGV  1 the time up to which they are old, in Unix ms   2… run ids

local forgotten = 0
for i = 2, #ARGV do
  local last = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if last and tonumber(last) <= tonumber(ARGV[1]) then forgotten = forgotten + redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return forgotten
