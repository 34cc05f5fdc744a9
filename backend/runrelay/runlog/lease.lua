-- Takes a lease that nobody has, or renews one's own. Returns 1 if it is held now, else 0.
--
-- KEYS  1 the lease
-- ARGV  1 owner   2 duration in ms
--
-- Every lease ends within a minute. What stands there and does not was never one, whatever its type: it is replaced, or it
-- would keep all relays from their duties for good.

local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left <= 60000 and redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
