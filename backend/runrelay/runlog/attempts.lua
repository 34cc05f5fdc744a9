-- Part of commit.lua: attempts. Begins attempts, and decides which events pass (fencing).

-- Keeps what the attempt that ends here has made, or why it failed: the next one replaces it. The last ten are kept. One that
-- had not ended is replaced now: it counts as cancelled, as a step that is cut short does.
local function keep_attempt()
  local fields = {'error', 'ended_in', 'result', 'started_at', 'finished_at'}  -- two texts; the others are JSON already
  local stored = redis.call('HMGET', hash, unpack(fields))
  local over = has_ended(status)
  local kept = '{"attempt":' .. string.format('%d', attempt) .. ',"status":"' .. (over and status or 'cancelled') .. '"'
  if not over then kept = kept .. ',"finished_at":' .. now_text end
  for i, name in ipairs(fields) do
    local value = set[name] or not clear[name] and stored[i]
    if value and (over or name ~= 'finished_at') then kept = kept .. ',"' .. name .. '":' .. (i <= 2 and json(value) or value) end
  end
  set['a:' .. attempt], clear['a:' .. attempt] = kept .. '}', nil
  if attempt > 10 then clear['a:' .. (attempt - 10)] = true end
end

-- Begins an attempt: no progress, error or result; the steps as they are declared, or all of the old ones queued again.
function begin_attempt(new_attempt, declared)
  if attempt > 0 and status and status ~= 'queued' then keep_attempt() end
  attempt, progress, started = new_attempt, false, false
  set.attempt, set.progress = attempt, ''
  set.nesting, clear.nesting = nil, true
  for _, name in ipairs({'result', 'error', 'started_at', 'finished_at', 'ended_in'}) do set[name], clear[name] = nil, true end
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
  sums.over, sums.lost, sums.spared, sums.failed, sums.stopped = 0, 0, 0, nil, nil
  set.fails_with, clear.fails_with = nil, true
  if declared then sums.weight, sums.more = 0, 0 end
end

-- Whether this is the error of the step for which the run will fail: the first that has failed, or else the first that was
-- stopped. An execution of a step that was replaced may say `finish`, too: its step has not failed.
local function is_why(error)
  local name = sums.failed or sums.stopped
  return name and error and string.sub(error, 1, #name + 2) == name .. ': '
end
-- The state and the error of a run whose steps have all ended, but not all of them well.
function conclude()
  local why, name = set.fails_with or redis.call('HGET', hash, 'fails_with') or nil, sums.failed or sums.stopped
  if name and not is_why(why) then
    local step = step_of(name)
    why = name .. ': ' .. (step and step.error or 'it did not succeed')
  end
  set.fails_with, clear.fails_with = nil, true
  return sums.stopped and not sums.failed and 'CANCELLED' or 'FAILED', why
end

-- Whether an event passes the fences of the run's attempt and of its end. Allocates the attempt of a start.
function admit(kind, control, fence, new_state)
  local over = has_ended(status)
  if control and control.only_if_unbegun and (begun > 0 or over) then return false end
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
    local takes_over = control.nesting and not over and begun == attempt and control.continues == attempt
      and control.nesting > tonumber(set.nesting or not clear.nesting and redis.call('HGET', hash, 'nesting') or 0)
    if not takes_over and (attempt == 0 or over or begun == attempt) then
      begin_attempt(math.max(attempt + 1, sent_for), control.steps)
    elseif sent_for > attempt then
      begin_attempt(sent_for, control.steps)
    end
    begun, given = attempt, attempt
    set.begun_attempt = begun
    if control.nesting then set.nesting, clear.nesting = control.nesting, nil end
    return true
  elseif kind == 'stalled' then
    return status == 'running' and fence == attempt and heartbeat < control.stale_before_ms
  elseif kind == 'finish' then
    step_of('')
    if fence ~= attempt or over or sums.count == 0 then return false end
    if control.lost then lose(control.lost, new_state == 'END') end
    if control.error and is_why(control.error) then set.fails_with, clear.fails_with = control.error, nil end
    -- Parts are lost and no step has failed: the member that had failed was executed again, and the parts will come.
    return sums.done + sums.more_done + sums.over + sums.lost + sums.spared >= sums.count + sums.more
      and (sums.over > 0 or sums.lost == 0 and new_state == 'END')
  end
  -- The attempt that a task was sent for is known even where the attempt of its start is not (the task died, or never ran).
  if control and control.base_attempt and control.base_attempt < queued then return false end
  if fence < attempt or over and fence == attempt then return false end
  -- Work that could not be sent is fenced from now on: its start names an attempt below this number, the next attempt's.
  if kind == 'unsent' then
    queued = attempt + 1
    set.queued_attempt = queued
  end
  -- A fence above the run's attempt is believed: the log has lost that attempt's beginning.
  if fence > attempt then
    begin_attempt(fence, control and control.steps)
    begun = fence
    set.begun_attempt = begun
  end
  return true
end
