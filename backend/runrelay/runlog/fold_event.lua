-- Part of commit.lua: fold_event. Folds one event that has passed into the run's values, and makes its message.

local new_status = not plain and not step and (TERMINAL[new_state] or STATUS_OF[kind]) or 'running'
local changed = control or log ~= '' or extra ~= ''
  or (step and before ~= step.status .. (step.progress or '') .. step.attempt)
if new_state == 'END' then value, new_progress = 1, '1.0' end
if has_ended(new_status) then set.finished_at, clear.finished_at = now, nil end
if value and (not progress or value > tonumber(progress)) then
  progress, set.progress, changed = new_progress, new_progress, true
end
if new_state ~= '' and new_state ~= state then
  if not plain and TERMINAL[new_state] and state and not TERMINAL[state] then set.ended_in, clear.ended_in = state, nil end
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
-- The optional fields begin with the level and the data (progress/fields.py holds that at import).
local patch_at = extra ~= ''
  and (string.match(extra, '^,"data":(){') or string.match(extra, '^,"level":"%l+","data":(){'))
if patch_at then
  if not merged then  -- defined at the first event with data: a closure costs as much as a redis.call
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
  local message = '{"run_id":' .. run_id_json .. ',"state":' .. state_json .. ',"progress":' .. (progress or 'null')
    .. ',"log":' .. (log_json ~= '' and log_json or 'null') .. ',"status":"' .. status .. '","seq":' .. seq_text
    .. ',"epoch":"' .. epoch .. '","ts":' .. ts .. ',"attempt":' .. attempt_text .. extra
  if step then
    message = message .. ',"step":' .. json(step_name) .. ',"step_status":"' .. step.status .. '","step_progress":'
      .. (step.progress and rounded(step.progress) or 'null') .. ',"step_attempt":' .. step.attempt
  end
  if ignored then message = message .. ',"data_ignored":true' end
  -- The MAC: only a client that can read the run's hash can make one, so a relay detects a forged message without a read.
  ids[#ids + 1] = seq_text .. '-0'
  messages[#messages + 1] = message .. ',"seal":"'
    .. string.sub(redis.sha1hex(seal_key .. message .. seal_key), 1, 16) .. '"}'
  if log ~= '' then
    local level = extra ~= '' and string.match(extra, '^,"level":"(%l+)"') or 'info'
    lines[#lines + 1] = seq_text .. '\t' .. ts .. '\t' .. level .. '\t' .. step_name .. '\t' .. log
  end
end
