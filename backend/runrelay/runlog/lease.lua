-- Takes a lease that nobody has, or renews one's own. Returns 1 if it is held now, else 0.
--
-- KEYS  1 the lease
-- ARGV  1 owner   2 duration in ms

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
