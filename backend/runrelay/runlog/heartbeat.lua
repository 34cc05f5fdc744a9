-- Renews an unfinished run: its worker is alive. Returns {its status, now in Unix ms}, or false if there is no such run.
--
-- KEYS  1 the run's hash  2 its stream of events  3 its list of log lines
-- ARGV  1 expiry in s

local status = redis.call('HGET', KEYS[1], 'status')
if not status then return status end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if status == 'succeeded' or status == 'failed' or status == 'cancelled' then return {status, now} end
redis.call('HSET', KEYS[1], 'heartbeat_at', now, 'renewed_at', now)
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[1]) end
return {status, now}
