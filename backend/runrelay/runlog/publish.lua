-- Part of commit.lua: publish. Writes log lines, hash and expiry, then announces the messages on the channel.

-- An ended run is not renewed: events that come too late for it must not keep it.
local renew = created or anew or has_ended(old_status) ~= has_ended(status)
  or not has_ended(status) and now - renewed_at > math.min(60000, expiry_s * 10)
local CHUNK = 1000  -- Lua unpacks less than 8,000 values, and an error here would come after the first write
if created then redis.call('DEL', logs) end
if #lines > 0 then
  local length = 0  -- stays 0 if the key is not a list: the events are written already, and are announced all the same
  for i = 1, #lines, CHUNK do
    local pushed = redis.pcall('RPUSH', logs, unpack(lines, i, math.min(i + CHUNK - 1, #lines)))
    if type(pushed) == 'number' then length = pushed end
  end
  local is_new = length == #lines
  if is_new then
    renew = true
    if not created then set.log_counted = '0' end  -- the list was lost
  end
  if math.floor(length / TRIM_EVERY) > math.floor((length - #lines) / TRIM_EVERY) then
-- include trim.lua
  end
end
if count > 0 and anew then set.epoch, set.server, set.seal_key, set.begun_at = epoch, server, seal_key, now_text end
if created then set.created_at, set.progress = now, progress or '' end
if renew then set.renewed_at = now_text end
if not old_mark then
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
if fenced > 0 and type(redis.pcall('HINCRBY', hash, 'fenced', fenced)) ~= 'number' then
  redis.call('HSET', hash, 'fenced', fenced)  -- no number was there
end
if renew then
  local expires_s = has_ended(status) and ended_expiry_s or expiry_s
  for i = 1, 3 do redis.call('EXPIRE', KEYS[i], expires_s) end
end
-- Everything is written. Who has no right to the channel is told so, and the relays read the events at their next check.
local unheard = ''
for i = 1, count do
  if type(redis.pcall('PUBLISH', channel, messages[i])) ~= 'number' then unheard = 'p' end
end
