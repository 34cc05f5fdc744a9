-- Takes a lease that is free, or renews the caller's own. Returns 1 if the caller holds it now, else 0.
--
-- KEYS  1 the lease
-- ARGV  1 owner   2 duration in ms
--
-- Every lease ends within a minute. A key that does not is no lease, whatever its type: it is replaced, because it would keep
-- all relays from their duties for ever.

local lease, owner, duration_ms = KEYS[1], ARGV[1], ARGV[2]
local left_ms = redis.call('PTTL', lease)
if left_ms >= 0 and left_ms <= 60000 and redis.call('TYPE', lease).ok == 'string' and redis.call('GET', lease) ~= owner then
  return 0
end
redis.call('SET', lease, owner, 'PX', duration_ms)
return 1
