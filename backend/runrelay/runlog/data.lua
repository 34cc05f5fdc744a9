-- Part of commit.lua: data. Merges an event's data into the run's by RFC 7386 (JSON Merge Patch).
--
-- Values are never decoded, because cjson damages them: [] becomes {}, a number above 2^53 becomes another one, a float keeps 14
-- digits. An object is only split into its members, each a key and a value as the publisher encoded them, without spaces
-- (progress/checks.py). Equal keys have equal bytes, because one encoder writes all of them. Text that is no JSON raises an
-- error of Lua's, before the first write.

local function string_end(text, at)
  while true do
    at = string.find(text, '["\\]', at + 1)
    if string.byte(text, at) == 34 then return at end
    at = at + 1  -- a backslash escapes the next character
  end
end

local function value_end(text, at)
  local first = string.sub(text, at, at)
  if first == '"' then return string_end(text, at) end
  if first ~= '{' and first ~= '[' then return string.find(text, '[,}%]]', at) - 1 end
  local depth = 1
  while true do
    at = string.find(text, '["%[%]{}]', at + 1)
    local char = string.byte(text, at)
    if char == 34 then
      at = string_end(text, at)
    elseif char == 123 or char == 91 then
      depth = depth + 1
    else
      depth = depth - 1
      if depth == 0 then return at end
    end
  end
end

-- The members of the object that begins at a position: its keys in order, and its values by key.
local function members(text, at)
  local keys, values = {}, {}
  if string.sub(text, at + 1, at + 1) == '}' then return keys, values end
  repeat
    local key_end = string_end(text, at + 1)
    local key, last = string.sub(text, at + 1, key_end), value_end(text, key_end + 2)
    if not values[key] then keys[#keys + 1] = key end
    values[key] = string.sub(text, key_end + 2, last)
    at = last + 1
  until string.sub(text, at, at) ~= ','
  return keys, values
end

-- The object that a patch (which begins at a position of a text) makes of a value; both as JSON.
function merged(value, text, at)
  local keys, values = {}, {}
  if value and string.sub(value, 1, 1) == '{' then keys, values = members(value, 1) end
  local names, changes = members(text, at)
  for _, key in ipairs(names) do
    local change = changes[key]
    if string.sub(change, 1, 1) == '{' then change = merged(values[key], change, 1) end
    keys[#keys + 1] = not values[key] and key or nil
    values[key] = change ~= 'null' and change or nil
  end
  local parts = {}
  for _, key in ipairs(keys) do
    if values[key] then parts[#parts + 1], values[key] = key .. ':' .. values[key], nil end
  end
  return '{' .. table.concat(parts, ',') .. '}'
end
