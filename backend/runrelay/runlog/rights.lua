-- Tries the commands that relays and their scripts use, on keys like theirs. It changes no data.
--
-- KEYS  none: the keys come as arguments, because Redis refuses the whole script for one refused key
-- ARGV  1 a run's hash  2 its stream of events  3 its list of log lines: of a run id that is not allowed
--       4 the list of runs  5 the heartbeats  6 a lease that no relay takes  7 "1": try also the commands that a subscriber's read does not need
-- Returns the refusals, flat: "join" or "other", command, key, error
--
-- What it writes is deleted before the script ends, so no other client can see it.

local hash, stream, logs, runs, alive, lease = unpack(ARGV, 1, 6)
local refusals, use = {}, 'join'

local function try(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err or string.find(reply.err, 'WRONGTYPE', 1, true) then return true end
  local command, key = ...
  for _, part in ipairs({use, command, key or '', reply.err}) do refusals[#refusals + 1] = part end
  return false
end

local own = try('HMGET', hash, 'epoch', 'seq')
-- A node of a cluster has some of the slots. Of ten runs it is very likely to lack one.
for other = 1, 9 do
  own = own and try('EXISTS', (string.gsub(hash, '{.*}', '{rights/check/' .. other .. '}')))
end
try('HKEYS', hash)
try('EXISTS', stream)
try('XRANGE', stream, '1-0', '+')
try('XREVRANGE', stream, '+', '-', 'COUNT', 1)
try('LLEN', logs)
try('LRANGE', logs, -1, -1)
if ARGV[7] ~= '1' then return refusals end

use = 'other'
try('HGET', hash, 'status')
try('HLEN', hash)
try('HSCAN', hash, 0)
try('XLEN', stream)
try('ZREVRANGEBYSCORE', runs, 0, 1)
for _, key in ipairs({runs, alive}) do
  try('ZADD', key, 'XX', 'GT', 0, '')  -- first: after any write Redis does not refuse the rest for want of memory
  try('ZRANGEBYSCORE', key, 1, 0)
  try('ZSCORE', key, '')
  try('ZREM', key, '')
  try('ZREMRANGEBYSCORE', key, 1, 0)
end
try('GET', lease)
try('PTTL', lease)
try('TYPE', lease)
local deletes = true
for _, key in ipairs({hash, stream, logs, lease}) do
  deletes = try('DEL', key) and deletes
end
-- without the right to delete, the script writes nothing that it would have to delete
if deletes then
  try('SET', lease, '', 'PX', 1000)
  try('HSET', hash, 'seq', 0)
  try('HINCRBY', hash, 'fenced', 1)
  try('HDEL', hash, 'fenced')
  try('EXPIRE', hash, 1)
  try('XADD', stream, '1-0', 'e', '')
  try('XTRIM', stream, 'MAXLEN', '~', 1000)
  try('RPUSH', logs, '')
  try('LTRIM', logs, -1, -1)
  for _, key in ipairs({hash, stream, logs, lease}) do redis.pcall('DEL', key) end
end
try('TIME')
try('SCAN', '0', 'COUNT', 1)
try('INFO', 'server')
return refusals
