-- Part of commit.lua: append. Appends the messages to the stream: the first write, so a refusal of Redis leaves nothing behind.

if count > 0 then
  -- DEL only if there is a stream: after any write, even a DEL of nothing, Redis does not refuse the rest for want of memory.
  if anew and redis.call('EXISTS', stream) == 1 then redis.call('DEL', stream) end
  -- Redis refuses an id that is not above all ids of the stream. Then the stream is ahead of this hash.
  local first = redis.pcall('XADD', stream, ids[1], 'e', messages[1])
  if first.err then
    if string.find(first.err, 'equal or smaller', 1, true) or string.find(first.err, 'exhausted', 1, true) then
      return {'gap', mark}
    end
    return first
  end
  for i = 2, count do redis.call('XADD', stream, ids[i], 'e', messages[i]) end
  -- Trimmed once in TRIM_EVERY events and by whole nodes, which is cheap and never leaves less than `events_kept`.
  if math.floor(seq / TRIM_EVERY) > math.floor(seq_before / TRIM_EVERY) then
    redis.call('XTRIM', stream, 'MAXLEN', '~', events_kept)
  end
elseif anew then
  epoch, seq, seq_before = old_epoch, tonumber(old[2]), tonumber(old[2])  -- nothing to append: a later commit heals the log
end
