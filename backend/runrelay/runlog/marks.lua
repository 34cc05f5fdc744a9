-- Part of commit.lua: marks. Prunes the marks of producers when a new producer commits.
--
-- Only if the hash has grown since the last time, so that a new producer costs little. The marks that were silent for longest
-- go, but none of a producer that may still send (docs/decisions/0002-marks-and-gaps.md). Time before this log began does not
-- count as silence, because this server was away then.

local size = redis.call('HLEN', hash)
if size >= (tonumber(redis.call('HGET', hash, 'prune_at')) or MARKS) then
  local marks, position = {}, '0'
  repeat
    local found = redis.call('HSCAN', hash, position, 'MATCH', 'p:*', 'COUNT', 1000)
    position = found[1]
    for i = 1, #found[2], 2 do
      local last = tonumber(string.match(found[2][i + 1], '(%d+)$'))
      marks[#marks + 1] = {last or 0, found[2][i]}
    end
  until position == '0'
  table.sort(marks, function(a, b) return a[1] < b[1] end)
  local from, kept = tonumber(redis.call('HGET', hash, 'begun_at')) or 0, #marks
  for i = 1, #marks - MARKS do
    if anew or now - math.max(marks[i][1], from) <= 3600000 then break end
    clear[marks[i][2]], kept = true, kept - 1
  end
  set.prune_at = size - #marks + kept + math.max(64, math.floor(kept / 4))
end
