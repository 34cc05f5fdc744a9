-- Deletes an ended run. Returns its status from before, or false if there is no such run; an error that begins with NOTARUN
-- if it is somebody else's hash.
--
-- KEYS  1 the run's hash  2 its stream of events  3 its list of log lines

local status = redis.call('HGET', KEYS[1], 'status')
if not status and redis.call('EXISTS', KEYS[1]) == 1 then return redis.error_reply('NOTARUN it has no status') end
if status == 'succeeded' or status == 'failed' or status == 'cancelled' then
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
end
return status
