-- Part of commit.lua: steps. Reads, declares and folds the steps of a run.
--
-- A field `s:<name>` for each step. `steps` has their count and sums, so that one event reads only its own step. `step_names`
-- lists them, so that a read need not look through the producers' marks. A step beyond MAX_STEPS is only counted: its events
-- pass, but the step is not kept. Of a canvas' members beyond (`more`; the run's end waits for them) the log keeps one
-- character each in fields `m:<number>` of 1,000 characters: 1 it has succeeded, x it has ended otherwise.
--
-- The run of a canvas ends when no member runs or will run: `done` have succeeded, `over` have ended otherwise. Of the rest,
-- Celery does not send parts: `lost` because a member before them did not succeed, `spared` because one that did has said that
-- they are not needed. Several members may say so of one part: a field `l:<attempt>/<its first member>` has its size (negative:
-- spared), so that it is counted once.

function rounded(value) return string.format('%.10g', math.floor(value * 1e6 + 0.5) / 1e6) end
function step_of(name)
  if not sums then
    local raw = redis.call('HGET', hash, 'steps')
    sums = raw and cjson.decode(raw) or {count = 0, done = 0, weight = 0, weighted = 0}
    sums.more, sums.more_done, sums.dropped = sums.more or 0, sums.more_done or 0, sums.dropped or 0
    sums.over, sums.lost, sums.spared = sums.over or 0, sums.lost or 0, sums.spared or 0
  end
  if steps[name] == nil then
    local raw = name ~= '' and redis.call('HGET', hash, 's:' .. name)
    steps[name] = raw and cjson.decode(raw) or false
  end
  return steps[name]
end
-- An older version writes no `step_names`. Where the list does not fit the count, it is made from the hash's fields.
function load_names(wrong)
  if names and not wrong then return end
  local raw = not wrong and redis.call('HGET', hash, 'step_names')
  local fine, found = pcall(cjson.decode, raw or '[]')
  names = fine and type(found) == 'table' and found or {}
  if #names == sums.count and not wrong then return end
  names, names_changed = {}, true
  for _, field in ipairs(redis.call('HKEYS', hash)) do
    if string.sub(field, 1, 2) == 's:' then names[#names + 1] = string.sub(field, 3) end
  end
end
function declare(name, weight)
  local step = step_of(name)
  if not step then
    if sums.count >= MAX_STEPS then return nil end
    load_names()
    names[#names + 1], names_changed = name, true
    sums.count = sums.count + 1
    step = {i = sums.count, name = name, status = 'queued', attempt = 1, weight = 0}
    steps[name] = step
  end
  sums.weight = sums.weight + weight - step.weight
  sums.weighted = sums.weighted + (weight - step.weight) * (step.progress or 0)
  step.weight = weight
  return step
end
-- The step of one event whose step is not kept.
function unkept(name, nth)
  if not nth or nth > sums.more then
    -- Compared with the one before only: to count each once would need all of their names.
    if sums.last ~= name then sums.last, sums.dropped = name, sums.dropped + 1 end
    return {name = name, status = 'running', attempt = 1, weight = 0, unkept = true}
  end
  local field, at = 'm:' .. math.floor((nth - 1) / 1000), (nth - 1) % 1000 + 1
  local done = set[field] or not clear[field] and redis.call('HGET', hash, field) or string.rep('0', 1000)
  local status_ = ({['1'] = 'succeeded', x = 'failed'})[string.sub(done, at, at)]
  return {name = name, status = status_ or 'running', attempt = 1, weight = 0, unkept = true,
    started_at = status_ and 0 or nil, mark = function(char)
      set[field], clear[field] = string.sub(done, 1, at - 1) .. char .. string.sub(done, at + 1), nil
    end}
end
-- One more step has succeeded (1), or one that had succeeded has begun again (-1).
local function count_done(step, by)
  if not step.unkept then
    sums.done = sums.done + by
  elseif step.mark then
    step.mark(by > 0 and '1' or '0')
    sums.more_done, sums.weighted = sums.more_done + by, sums.weighted + by
  end
end
-- One more step has ended without success (1), or one that had has begun again (-1).
local function count_over(step, by)
  if step.unkept and not step.mark then return end
  if step.mark then step.mark(by > 0 and 'x' or '0') end
  sums.over = sums.over + by
  local which = step.status == 'failed' and 'failed' or 'stopped'
  if by > 0 then
    sums[which] = sums[which] or step.name
  elseif sums[which] == step.name then
    sums[which] = nil
  end
end
-- Parts of the canvas will not run: pairs of the first member's name and the number of members.
function lose(parts, spared)
  local which = spared and 'spared' or 'lost'
  for _, part in ipairs(cjson.decode(parts)) do
    local field = 'l:' .. attempt .. '/' .. part[1]
    if not (set[field] or not clear[field] and redis.call('HGET', hash, field)) then
      set[field], clear[field] = spared and -part[2] or part[2], nil
      sums[which] = sums[which] + part[2]
    end
  end
end
-- A part begins after all: the member before it was executed again.
local function find_again(name)
  local field = 'l:' .. attempt .. '/' .. name
  local size = sums.lost + sums.spared > 0 and (set[field] or not clear[field] and redis.call('HGET', hash, field))
  if size then
    local which = tonumber(size) < 0 and 'spared' or 'lost'
    set[field], clear[field] = nil, true
    sums[which] = sums[which] - math.abs(tonumber(size))
  end
end

-- Begins an attempt of a step.
local function begin_step(step, number_)
  if step.status == 'succeeded' then
    count_done(step, -1)
  elseif has_ended(step.status) then
    count_over(step, -1)
  end
  find_again(step.name)
  sums.weighted = sums.weighted - (step.progress or 0) * step.weight
  step.status, step.attempt, step.started_at = 'running', number_, now
  step.progress, step.finished_at, step.error = nil, nil, nil
end
-- Folds an event into its step. Returns false if the step's attempt or its end fences the event.
function fold_step(step, kind, control, new_state, value, fence)
  if kind == 'step_start' and control.only_if_not_superseded and step.started_at then return false end
  if kind == 'step_start' then
    if control.nesting and step.started_at and not has_ended(step.status) and control.continues == step.attempt
        and control.nesting > (step.nesting or 0) then
      step.status = 'running'  -- the task takes the place of the one before it
    else
      begin_step(step, step.started_at and step.attempt + 1 or step.attempt)
    end
    step.nesting, step_given = control.nesting, step.attempt
    if begun ~= attempt then begun, set.begun_attempt = attempt, attempt end
  else
    -- As with the run's attempt, a fence above the step's attempt is believed.
    if fence and fence > step.attempt then begin_step(step, fence) end
    if fence and fence < step.attempt or has_ended(step.status) then return false end
    step.status = TERMINAL[new_state] or STATUS_OF[kind] or 'running'
    step.started_at = step.started_at or now
  end
  if step.status == 'succeeded' then
    value = 1
    count_done(step, 1)
  elseif has_ended(step.status) then
    count_over(step, 1)
  end
  if has_ended(step.status) then
    step.finished_at, step.error = now, control and control.error
    if control and control.lost then lose(control.lost, step.status == 'succeeded') end
  end
  if value and value > (step.progress or 0) then
    sums.weighted = sums.weighted + (value - (step.progress or 0)) * step.weight
  end
  if value and value >= (step.progress or 0) then step.progress = value end
  return true
end
