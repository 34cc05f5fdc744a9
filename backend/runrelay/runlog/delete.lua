-- Deletes an ended run. Returns its status before, or false if there is no such run; an error that begins with NOTARUN if the
-- key is not a run's.
--
-- KEYS  1 the run's hash  2 its stream of events  3 its list of log lines

-- include ends.lua
local hash, stream, logs = KEYS[1], KEYS[2], KEYS[3]
local status = redis.call('HGET', hash, 'status')
if not status and redis.call('EXISTS', hash) == 1 then return redis.error_reply('NOTARUN it has no status') end
if has_ended(status) then redis.call('DEL', hash, stream, logs) end
return status
