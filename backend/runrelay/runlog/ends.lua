-- Part of commit.lua, delete.lua and heartbeat.lua: ends. The only list in Lua of the statuses that are an end.

local function has_ended(status) return status == 'succeeded' or status == 'failed' or status == 'cancelled' end
