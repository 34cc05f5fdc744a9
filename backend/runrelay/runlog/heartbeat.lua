-- Renews an unfinished run, because its worker is alive. Returns {its status, now in Unix ms}, or false if there is no such run.
--
-- KEYS  1 the run's hash  2 its stream of events  3 its list of log lines
-- ARGV  1 expiry in s

-- include ends.lua
local hash, expiry_s = KEYS[1], ARGV[1]
local status = redis.call('HGET', hash, 'status')
if not status then return status end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if has_ended(status) then return {status, now} end
redis.call('HSET', hash, 'heartbeat_at', now, 'renewed_at', now)
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], expiry_s) end
return {status, now}
