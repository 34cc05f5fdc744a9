-- Commits one batch of events of one run, atomically: reads the run, fences, folds, appends to the stream, writes, announces.
--
-- KEYS  1 the run's hash  2 its stream of events  3 its list of log lines      (in one slot: they share a hash tag)
-- ARGV  1 channel           2 run id as JSON       3 epoch to take if a new log begins     4 the server's identity
--       5 producer          6 number of the first event (contiguous per producer and run, from 1)
--       7 "1": the caller knows that this server has lost data (it was refused for a gap)
--       8 expiry in s       9 expiry after the end in s      10 events to keep      11 log lines to keep, 12 their bytes
--       13 seal key to take if a new log begins
--       14 empty if an event of the batch does more than report (it has a control or a step, or ends the run); else the
--          highest attempt that an event names
--       15… per event the nine arguments of commits.py: control ts state progress log log-as-JSON fence step extra
--
-- Returns  {"ok", epoch, seq before, seq after, status, attempt, given, step given, changes, updated_at, fenced, superseded below}
--              given, step given: the attempt that this producer's last start was allocated (0: it was fenced)
--              superseded below: work that was sent for a lower attempt is not wanted any more; absent if all events only report
--              changes: "c" a run was created, "s" its status changed, "d" an event's data was too large to be merged,
--                       "p" not announced: Redis refuses to publish on the channel
--          {"gap", mark}                     the batch does not follow what this producer committed before
--          {"refused", status, attempt}      a condition (`precondition`) did not hold
--          an error that begins with NOTARUN, or of Lua's: the key is not a run's, or is damaged; nothing was written then
--
-- Everything is computed before the first write, and the first write is the append to the stream: when Redis refuses it (OOM,
-- READONLY), nothing has happened. After it a script runs to its end. (Where an old stream has to go first, its DEL is the
-- first write, which is refused or not in the same way.)
--
-- Parts: read_run (the run's values, `plain`), attempts (fencing, new attempts), steps, fold_event (with data), append, publish
-- (with trim and marks). They are parts of one text and share its locals; scripts.py puts them together at import.

local hash, stream, logs = KEYS[1], KEYS[2], KEYS[3]
local channel, run_id_json, new_epoch, server = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local mark_field, number, server_lost_data = 'p:' .. ARGV[5], tonumber(ARGV[6]), ARGV[7] == '1'
local expiry_s, ended_expiry_s, events_kept = ARGV[8], ARGV[9], ARGV[10]
local lines_kept, bytes_kept = tonumber(ARGV[11]), tonumber(ARGV[12])
local new_seal_key, highest_fence = ARGV[13], tonumber(ARGV[14])
local FIRST, WIDTH, TRIM_EVERY, MAX_STEPS, MARKS, MAX_DATA_BYTES = 15, 9, 64, 1000, 300, 4096

-- include ends.lua
-- include read_run.lua

local function json(text)
  if not text then return 'null' end
  local encoded = cjson.encode(text)
  return string.find(encoded, '/', 1, true) and string.gsub(encoded, '\\/', '/') or encoded
end

local set, clear, messages, ids, lines, fenced = {}, {}, {}, {}, {}, 0
local state_json = json(state)
local data, merged, data_ignored  -- data: the run's, nil before it is read

local steps, sums, names, names_changed, TERMINAL, STATUS_OF
local rounded, step_of, load_names, declare, unkept, lose, fold_step, begin_attempt, conclude, admit
if not plain then
  steps = {}
  TERMINAL = {END = 'succeeded', FAILED = 'failed', CANCELLED = 'cancelled'}
  STATUS_OF = {queue = 'queued', retrying = 'retrying', stalled = 'stalled'}
-- include steps.lua
-- include attempts.lua
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

  -- Numbers up to the mark were committed before, and only the reply was lost.
  local pass = number > mark
  number = number + 1
  if pass then
    local step_fence
    if plain then
      pass = fence == '' or tonumber(fence) == attempt
    else
      local run_fence = fence
      if step_name ~= '' then run_fence, step_fence = string.match(fence, '^(%d*)/?(%d*)$') end
      pass = admit(kind, control, tonumber(run_fence) or attempt, new_state)
      if pass and kind == 'finish' and sums.over > 0 then
        local why
        new_state, why = conclude()
        control, log, log_json = {kind = kind, error = why}, '', ''
        extra = why and ',"error":' .. json(why) or ''
      end
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

    if pass then
-- include fold_event.lua
    else
      if kind == 'step_start' then step_given = 0 end
      -- A condition that does not hold is no event of an older attempt.
      if kind ~= 'stalled' and kind ~= 'finish' and not (control and control.only_if_unbegun) then fenced = fenced + 1 end
    end
  end
end

-- Encoded here, because an error caused by a damaged key must come before the first write.
if sums then
  set.steps = cjson.encode(sums)
  if names_changed then set.step_names = cjson.encode(names) end
  for name, step in pairs(steps) do
    if step then set['s:' .. name], clear['s:' .. name] = cjson.encode(step), nil end
  end
end

local count = #messages
local changes = (created and count > 0 and 'c' or '') .. (status ~= old_status and 's' or '') .. (data_ignored and 'd' or '')
if created and count == 0 then return {'ok', '0', 0, 0, 'unknown', 0, given, step_given, '', now, fenced} end

-- include append.lua
-- include publish.lua
return {'ok', epoch, seq_before, seq, status, attempt, given, step_given, changes .. unheard, now, fenced, queued}
