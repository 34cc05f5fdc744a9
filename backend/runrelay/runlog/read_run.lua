-- Part of commit.lua: read_run. Reads from the run's hash what a commit needs, and decides which way the commit goes.

local time = redis.call('TIME')
local now_text = time[1] .. string.format('%03d', math.floor(time[2] / 1000))  -- Lua is slow at writing a large number
local now = tonumber(now_text)
local old = redis.call('HMGET', hash, 'epoch', 'seq', 'server', 'state', 'status', 'progress', 'attempt', mark_field,
  'renewed_at', 'seal_key')
local old_epoch, old_server, old_status, old_mark, renewed_at = old[1], old[3], old[5], old[8], tonumber(old[9]) or 0
local epoch, seq, state, status = old_epoch, tonumber(old[2] or 0), old[4], old_status
local progress, attempt, attempt_text = old[6] ~= '' and old[6], tonumber(old[7] or 0), old[7]
local seal_key, created = old[10], not epoch

-- Refuse a key that is not a run's, or a damaged one. These values are written into messages as they are.
local share = tonumber(progress or 0)
if not (seq and attempt and share and share >= 0 and share <= 1 and seq >= 0 and seq <= 1e15 and seq % 1 == 0)
    or (created and redis.call('EXISTS', hash) == 1)
    or (not created and not (status and seal_key and #epoch == 12 and string.find(attempt_text or '', '^%d+$')))
    or (progress and not (string.find(progress, '^%d%.%d+$') or string.find(progress, '^%d$')
      or string.find(progress, '^%d%.?%d*e%-%d+$'))) then
  return redis.error_reply('NOTARUN its epoch, seq, status, progress, attempt and seal_key are not those of a run')
end

-- `plain`: the common case, progress of a running attempt. It skips the second HMGET and defines no closures, because a closure
-- costs as much as a redis.call. Measured: a quarter less CPU per commit.
local plain = highest_fence and highest_fence <= attempt and status == 'running'
local begun, queued, heartbeat, started
if not plain then
  local more = redis.call('HMGET', hash, 'begun_attempt', 'queued_attempt', 'heartbeat_at', 'started_at')
  begun, queued, heartbeat, started = tonumber(more[1] or 0), tonumber(more[2] or 0), tonumber(more[3] or now), more[4]
end

-- A producer's mark: the number of its last committed event, the attempts that its last starts were given, and the time (for
-- pruning). It makes a commit idempotent: events up to the mark are skipped.
local mark, given, step_given = 0, 0, 0
if old_mark then
  local number_, given_, step_given_ = string.match(old_mark, '^(%d+) (%d+) (%d+)')
  mark, given, step_given = tonumber(number_), tonumber(given_), tonumber(step_given_)
end
if number > mark + 1 and not server_lost_data then return {'gap', mark} end

-- A log without its stream is not continued, nor one that this server may hold in an older version than was once announced:
-- its numbers could be given out twice. The hash's values stay; the log begins again under a new epoch.
local anew = created or server_lost_data or old_server ~= server or redis.call('XLEN', stream) == 0
if anew then epoch, seq, seal_key = new_epoch, 0, new_seal_key end
local seq_before = seq
