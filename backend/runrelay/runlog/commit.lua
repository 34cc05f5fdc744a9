-- Commits one batch of events of one run, atomically: fence, fold, append, announce.
--
-- KEYS  1 the run's hash  2 its stream of events  3 its list of log lines      (one slot: they share a hash tag)
-- ARGV  1 channel           2 run id as JSON       3 epoch to take if a new log begins     4 the server's identity
--       5 producer          6 number of the first event (contiguous per producer and run, from 1)
--       7 "1": the caller knows that this server has lost data (it was refused for a gap)
--       8 expiry in s       9 expiry after the end in s      10 events to keep      11 log lines to keep
--       12 seal key to take if a new log begins
--       13 empty if one of the events does more than report (it has a control or a step, or ends the run); else the highest
--          attempt that one of them names
--       14… per event the nine arguments of commits.py: control ts state progress log log-as-JSON fence step extra
--
-- Returns  {"ok", epoch, seq before, seq after, status, attempt, given, step given, changes, updated_at, fenced, superseded below}
--              given, step given: the attempt that this producer's last start was allocated (0: it was fenced)
--              superseded below: work that was sent for a lower attempt is not wanted any more; absent if all events only report
--              changes: "c" a run was created, "s" its status changed, "d" data was not merged, as it would be too large
--          {"gap", mark}                     the batch does not follow what this producer committed before
--          {"refused", status, attempt}      a condition (`precondition`) did not hold
--          an error that begins with NOTARUN, or of Lua's: somebody else's key, or a damaged one; nothing was written then
--
-- Everything is computed before the first write, and the first write is the append to the stream: when Redis refuses it (OOM,
-- READONLY), nothing has happened. After it a script runs to its end. (Where an old stream has to go first, its DEL is the
-- first write, which is refused or not in the same way.)

local hash, stream, logs = KEYS[1], KEYS[2], KEYS[3]
local number, server_lost_data = tonumber(ARGV[6]), ARGV[7] == '1'
local mark_field = 'p:' .. ARGV[5]
local FIRST, WIDTH, TRIM_EVERY, MAX_STEPS, MARKS, MAX_DATA_BYTES = 14, 9, 64, 1000, 300, 4096
local function has_ended(status) return status == 'succeeded' or status == 'failed' or status == 'cancelled' end

local time = redis.call('TIME')
local now_text = time[1] .. string.format('%03d', math.floor(time[2] / 1000))  -- Lua takes long to write a number
local now = tonumber(now_text)
local old = redis.call('HMGET', hash, 'epoch', 'seq', 'server', 'state', 'status', 'progress', 'attempt', mark_field,
  'renewed_at', 'seal_key')
local epoch, seq, state, status = old[1], tonumber(old[2] or 0), old[4], old[5]
local progress, attempt, attempt_text = old[6] ~= '' and old[6], tonumber(old[7] or 0), old[7]
local created, was = not epoch, status
-- Somebody else's key, or one that somebody has written into: what goes into messages as it is must be what a commit writes.
local share = tonumber(progress or 0)
if not (seq and attempt and share and share >= 0 and share <= 1 and seq >= 0 and seq <= 1e15 and seq % 1 == 0)
    or (created and redis.call('EXISTS', hash) == 1)
    or (not created and not (status and old[10] and #epoch == 12 and string.find(attempt_text or '', '^%d+$')))
    or (progress and not (string.find(progress, '^%d%.%d+$') or string.find(progress, '^%d$')
      or string.find(progress, '^%d%.?%d*e%-%d+$'))) then
  return redis.error_reply('NOTARUN its epoch, seq, status, progress, attempt and seal_key are not those of a run')
end

-- Nearly all commits only report, of a run that is running. What the others need is neither read nor made for them: a closure
-- costs as much as a call to Redis.
local named = tonumber(ARGV[13])
local plain = named and named <= attempt and status == 'running'
local begun, queued, heartbeat, started
if not plain then
  local more = redis.call('HMGET', hash, 'begun_attempt', 'queued_attempt', 'heartbeat_at', 'started_at')
  begun, queued, heartbeat, started = tonumber(more[1] or 0), tonumber(more[2] or 0), tonumber(more[3] or now), more[4]
end

-- A producer's mark: the number of its last event here, what its last start was given, and when (for pruning).
local mark, given, step_given = 0, 0, 0
if old[8] then
  local a, b, c = string.match(old[8], '^(%d+) (%d+) (%d+)')
  mark, given, step_given = tonumber(a), tonumber(b), tonumber(c)
end
if number > mark + 1 and not server_lost_data then return {'gap', mark} end

-- Half of a log, or a log that this server may hold in an older version than was once announced, is not continued: its
-- numbers could be given out twice. What the hash knows of the run stays; the log begins anew under a new name.
local anew = created or server_lost_data or old[3] ~= ARGV[4] or redis.call('XLEN', stream) == 0
local seal_key = old[10]
if anew then epoch, seq, seal_key = ARGV[3], 0, ARGV[12] end
local seq_before = seq

local function json(text)
  if not text then return 'null' end
  local encoded = cjson.encode(text)
  return string.find(encoded, '/', 1, true) and string.gsub(encoded, '\\/', '/') or encoded
end

local set, clear, messages, ids, lines, fenced = {}, {}, {}, {}, {}, 0
local state_json = json(state)
local data, merged, data_ignored  -- data: the run's, nil before it is read

local steps, sums, names, names_changed, TERMINAL, STATUS_OF
local rounded, step_of, declare, unkept, begin_attempt, admit, fold_step
if not plain then
  steps = {}
  TERMINAL = {END = 'succeeded', FAILED = 'failed', CANCELLED = 'cancelled'}
  STATUS_OF = {queue = 'queued', retrying = 'retrying', stalled = 'stalled'}
-- include steps.lua

  function begin_attempt(number_, declared)
    attempt, progress, started = number_, false, false
    set.attempt, set.progress = attempt, ''
    for _, name in ipairs({'result', 'error', 'started_at', 'finished_at'}) do set[name], clear[name] = nil, true end
    if created and not sums then return end
    step_of('')
    load_names()
    for _, name in ipairs(names) do
      if not step_of(name) then load_names(true) break end
    end
    for _, name in ipairs(names) do step_of(name) end
    names, names_changed = {}, names_changed or sums.count > 0
    for name, step in pairs(steps) do
      if step and declared then
        steps[name], clear['s:' .. name] = false, true
      elseif step then
        steps[name] = {i = step.i, name = name, status = 'queued', attempt = 1, weight = step.weight}
        names[#names + 1] = name
      end
    end
    for i = 0, math.ceil(sums.more / 1000) - 1 do set['m:' .. i], clear['m:' .. i] = nil, true end
    sums.done, sums.weighted, sums.more_done, sums.dropped, sums.last, sums.count = 0, 0, 0, 0, nil, #names
    if declared then sums.weight, sums.more = 0, 0 end
  end

  -- May this event pass? Fences the run's attempt, its end, the step's attempt; allocates the attempt of a start.
  function admit(kind, control, fence)
    local over = has_ended(status)
    if kind == 'queue' then
      begin_attempt(attempt + 1, control.steps)
      begun, queued = 0, attempt
      set.begun_attempt, set.queued_attempt = begun, queued
      return true
    elseif kind == 'start' then
      given = 0
      local sent_for = control.base_attempt or 0
      if sent_for < queued and control.base_attempt then return false end
      if control.only_if_not_superseded and begun > 0 and not over then return false end
      if over and status ~= 'failed' and not control.reopen and sent_for <= attempt then return false end
      if attempt == 0 or over or begun == attempt then
        begin_attempt(math.max(attempt + 1, sent_for), control.steps)
      elseif sent_for > attempt then
        begin_attempt(sent_for, control.steps)
      end
      begun, given = attempt, attempt
      set.begun_attempt = begun
      return true
    elseif kind == 'stalled' then
      return status == 'running' and fence == attempt and heartbeat < control.stale_before_ms
    elseif kind == 'finish' then
      step_of('')
      return fence == attempt and not over and sums.count > 0 and sums.done >= sums.count and sums.more_done >= sums.more
    end
    -- Of a task whose start's attempt is not known (it died, or never ran) one knows at least which one it was sent for.
    if control and control.base_attempt and control.base_attempt < queued then return false end
    if fence < attempt or over and fence == attempt then return false end
    -- Work that could not be sent in time is sent for an attempt below this from now on: its start is fenced. The next
    -- attempt is this number.
    if kind == 'unsent' then
      queued = attempt + 1
      set.queued_attempt = queued
    end
    -- A fence above the run's attempt: the log has lost that attempt's beginning, the producer knows better.
    if fence > attempt then
      begin_attempt(fence, control and control.steps)
      begun = fence
      set.begun_attempt = begun
    end
    return true
  end
end

for b = FIRST, #ARGV, WIDTH do
  local control, ts, new_state, new_progress = ARGV[b], ARGV[b + 1], ARGV[b + 2], ARGV[b + 3]
  local log, log_json, fence, step_name, extra = ARGV[b + 4], ARGV[b + 5], ARGV[b + 6], ARGV[b + 7], ARGV[b + 8]
  local kind = ''
  if control ~= '' then
    control = cjson.decode(control)
    kind = control.kind
  else
    control = nil
  end
  local precondition = control and control.precondition
  if number > mark and precondition and ((precondition == 'absent' and status) or (precondition ~= 'absent' and not status)
      or (precondition == 'ended' and not has_ended(status)) or (precondition == 'unfinished' and has_ended(status))
      or (precondition == 'unbegun' and (begun > 0 or has_ended(status)))) then
    return {'refused', status or 'unknown', attempt}
  end

  -- numbers up to the mark were committed before and only their reply was lost
  local pass = number > mark
  number = number + 1
  if pass then
    local step_fence
    if plain then
      pass = fence == '' or tonumber(fence) == attempt
    else
      local run_fence = fence
      if step_name ~= '' then run_fence, step_fence = string.match(fence, '^(%d*)/?(%d*)$') end
      pass = admit(kind, control, tonumber(run_fence) or attempt)
    end
    if attempt == 0 and pass then
      attempt = 1
      set.attempt = 1
    end
    if pass and control and (control.steps or control.more_steps) then
      local declared = control.steps or {}
      step_of('')
      for _, spec in ipairs(declared) do declare(spec.name, spec.weight) end
      sums.dropped = math.max(sums.dropped, #declared - sums.count)
      local more = math.max(sums.more, math.min(control.more_steps or 0, 1000000))
      sums.weight, sums.more = sums.weight + more - sums.more, more  -- each of weight 1
    end
    local value = tonumber(new_progress)
    local step, before = nil, nil
    if pass and step_name ~= '' then
      step = step_of(step_name) or declare(step_name, 1) or unkept(step_name, control and control.more_step)
      before = step.status .. (step.progress or '') .. step.attempt
      pass = fold_step(step, kind, control, new_state, value, tonumber(step_fence))
      if TERMINAL[new_state] then new_state = '' end
      if pass then
        new_progress = sums.weight > 0 and rounded(sums.weighted / sums.weight) or ''
        value = tonumber(new_progress)
      end
    end

    if not pass then
      if kind == 'step_start' then step_given = 0 end
      -- a condition that does not hold (stalled, finish) is no trespass
      if kind ~= 'stalled' and kind ~= 'finish' then fenced = fenced + 1 end
    else
      local new_status = not plain and not step and (TERMINAL[new_state] or STATUS_OF[kind]) or 'running'
      local changed = control or log ~= '' or extra ~= ''
        or (step and before ~= step.status .. (step.progress or '') .. step.attempt)
      if new_state == 'END' then value, new_progress = 1, '1.0' end
      if has_ended(new_status) then set.finished_at, clear.finished_at = now, nil end
      if value and (not progress or value > tonumber(progress)) then
        progress, set.progress, changed = new_progress, new_progress, true
      end
      if new_state ~= '' and new_state ~= state then
        state, set.state, state_json, changed = new_state, new_state, json(new_state), true
      end
      if new_status ~= status then
        status, set.status, changed = new_status, new_status, true
      end
      if not plain and status == 'running' and not started then
        started, set.started_at, clear.started_at = now, now, nil
      end
      if control then
        for _, name in ipairs({'title', 'pipeline', 'input', 'result', 'error'}) do
          if control[name] and not (name == 'error' and step) then set[name], clear[name] = control[name], nil end
        end
      end
      local ignored = false
      local patch_at = extra ~= ''
        and (string.match(extra, '^,"data":(){') or string.match(extra, '^,"level":"%l+","data":(){'))
      if patch_at then
        if not merged then  -- made at the first event with data: a closure costs as much as a call to Redis
-- include data.lua
          data = redis.call('HGET', hash, 'data')
        end
        local after = merged(data, extra, patch_at)
        ignored = #after > MAX_DATA_BYTES
        if ignored then data_ignored = true else data, set.data = after, after end
      end
      if changed then
        seq = seq + 1
        local seq_text = string.format('%d', seq)
        if not plain then attempt_text = string.format('%d', attempt) end
        local message = '{"run_id":' .. ARGV[2] .. ',"state":' .. state_json .. ',"progress":' .. (progress or 'null')
          .. ',"log":' .. (log_json ~= '' and log_json or 'null') .. ',"status":"' .. status .. '","seq":' .. seq_text
          .. ',"epoch":"' .. epoch .. '","ts":' .. ts .. ',"attempt":' .. attempt_text .. extra
        if step then
          message = message .. ',"step":' .. json(step_name) .. ',"step_status":"' .. step.status .. '","step_progress":'
            .. (step.progress and rounded(step.progress) or 'null') .. ',"step_attempt":' .. step.attempt
        end
        if ignored then message = message .. ',"data_ignored":true' end
        -- The seal: only who can read the run's hash can make one, so a relay knows a forged message without a read.
        ids[#ids + 1] = seq_text .. '-0'
        messages[#messages + 1] = message .. ',"seal":"'
          .. string.sub(redis.sha1hex(seal_key .. message .. seal_key), 1, 16) .. '"}'
        if log ~= '' then
          local level = extra ~= '' and string.match(extra, '^,"level":"(%l+)"') or 'info'
          lines[#lines + 1] = seq_text .. '\t' .. ts .. '\t' .. level .. '\t' .. step_name .. '\t' .. log
        end
      end
    end
  end
end

-- what fails because of what somebody has stored here does so before the first write
if sums then
  set.steps = cjson.encode(sums)
  if names_changed then set.step_names = cjson.encode(names) end
  for name, step in pairs(steps) do
    if step then set['s:' .. name], clear['s:' .. name] = cjson.encode(step), nil end
  end
end

local count = #messages
local changes = (created and count > 0 and 'c' or '') .. (status ~= was and 's' or '') .. (data_ignored and 'd' or '')
if created and count == 0 then return {'ok', '0', 0, 0, 'unknown', 0, given, step_given, '', now, fenced} end

if count > 0 then
  -- only if there is one: the DEL of nothing is a write too, after which Redis does not refuse the rest for want of memory
  if anew and redis.call('EXISTS', stream) == 1 then redis.call('DEL', stream) end
  -- Redis refuses a number that is not above all that the stream has: then the stream is not this hash's.
  local first = redis.pcall('XADD', stream, ids[1], 'e', messages[1])
  if first.err then
    if string.find(first.err, 'equal or smaller', 1, true) or string.find(first.err, 'exhausted', 1, true) then
      return {'gap', mark}
    end
    return first
  end
  for i = 2, count do redis.call('XADD', stream, ids[i], 'e', messages[i]) end
  -- now and then, and by whole nodes: cheap, and never below the number of events to keep
  if math.floor(seq / TRIM_EVERY) > math.floor(seq_before / TRIM_EVERY) then
    redis.call('XTRIM', stream, 'MAXLEN', '~', ARGV[10])
  end
elseif anew then
  epoch, seq, seq_before = old[1], tonumber(old[2]), tonumber(old[2])  -- nothing to append: the old log stays, to be healed
end

-- nothing can happen to an ended run any more: what comes too late for it must not keep it
local renew = created or anew or has_ended(was) ~= has_ended(status)
  or not has_ended(status) and now - (tonumber(old[9]) or 0) > math.min(60000, ARGV[8] * 10)
local CHUNK = 1000  -- Lua unpacks less than 8,000 values, and it would say so here, after the first write
if created then redis.call('DEL', logs) end
if #lines > 0 then
  local length = 0  -- and so it stays, if somebody else's key is there: the events are written, and go out all the same
  for i = 1, #lines, CHUNK do
    local pushed = redis.pcall('RPUSH', logs, unpack(lines, i, math.min(i + CHUNK - 1, #lines)))
    if type(pushed) == 'number' then length = pushed end
  end
  if length == #lines then renew = true end
  -- trimmed with slack, so that a full list is not trimmed at each commit
  if length > ARGV[11] + 100 then redis.call('LTRIM', logs, -ARGV[11], -1) end
end
if count > 0 and anew then set.epoch, set.server, set.seal_key, set.begun_at = epoch, ARGV[4], seal_key, now_text end
if created then set.created_at, set.progress = now, progress or '' end
if renew then set.renewed_at = now_text end
if not old[8] then
-- include marks.lua
end
local gone = {}
for name in pairs(clear) do gone[#gone + 1] = name end
for i = 1, #gone, CHUNK do redis.call('HDEL', hash, unpack(gone, i, math.min(i + CHUNK - 1, #gone))) end
if count > 0 then set.updated_at = now_text end
local fields = {'seq', seq, mark_field, string.format('%d %d %d ', math.max(mark, number - 1), given, step_given) .. now_text}
for name, value in pairs(set) do
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
for i = 1, #fields, CHUNK do redis.call('HSET', hash, unpack(fields, i, math.min(i + CHUNK - 1, #fields))) end
if fenced > 0 and type(redis.pcall('HINCRBY', hash, 'fenced', fenced)) ~= 'number' then redis.call('HSET', hash, 'fenced', fenced) end
if renew then
  local expiry_s = has_ended(status) and ARGV[9] or ARGV[8]
  for i = 1, 3 do redis.call('EXPIRE', KEYS[i], expiry_s) end
end
for i = 1, count do redis.call('PUBLISH', ARGV[1], messages[i]) end
return {'ok', epoch, seq_before, seq, status, attempt, given, step_given, changes, now, fenced, queued}
