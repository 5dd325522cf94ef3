-- Reads the log's own stream, which holds the newest records of all topics.
--
-- ARGV  4 where to begin: 'page', 'tail' or 'resume'; 5 after which id, or nothing; 6 how many
--       records; 7 how many of all records it looks at; 8 how many bytes; 9 milliseconds that a
--       topic retains (0: any age)
-- Returns life, last, lost, gone, forgotten, base, where it begins, the newest id that is too old or
-- nothing, the end it has come to or nothing if it cannot begin there, and the entries as id, topic
-- and block: for a page those that are retained, else all.
local mode, after, limit, scan = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local size, max_age = tonumber(ARGV[8]), tonumber(ARGV[9])
local base = base()
local is_known = after ~= '' and not is_later(life, after) and not is_later(after, last)

local start
if mode == 'page' then
  start = is_known and after or life
elseif after == '' then
  start = last
elseif is_known then
  start = later(later(after, lost), base)
  if mode == 'tail' then start = later(start, gone) end
else
  start = later(later(gone, lost), base)
end

local too_old, young = '', 0
if max_age > 0 then
  young = math.max(1, now - max_age)
  local found = redis.call('XREVRANGE', LOG, young - 1, '-', 'COUNT', 1)[1]
  if found then too_old = found[1] end
end

-- The newest evicted id of each topic that is met.
local evicted = {}
local function is_left(id, topic)
  local before = evicted[topic]
  if not before then
    local state = redis.call('HGET', STATE, topic)
    local _, _, _, newest = parse(state or '- - - - -')
    before = { split(state and newest or forgotten) }
    evicted[topic] = before
  end
  local ms, seq = split(id)
  return ms >= young and (ms > before[1] or (ms == before[1] and seq > before[2]))
end

local entries, read, found = {}, start, 0
if is_later(base, start) then
  read = ''
else
  local is_over, looked_at, count = false, 0, 16
  while not is_over and looked_at < scan and found < limit and size > 0 do
    local chunk = redis.call('XRANGE', LOG, '(' .. read, '+', 'COUNT', count)
    is_over = #chunk < count
    looked_at = looked_at + #chunk
    for _, entry in ipairs(chunk) do
      if found == limit then
        is_over = false
        break
      end
      local id, topic, block = entry[1], entry[2][2], entry[2][4]
      read = id
      if mode ~= 'page' or is_left(id, topic) then
        entries[3 * found + 1], entries[3 * found + 2], entries[3 * found + 3] = id, topic, block
        found = found + 1
        size = size - #block
      end
    end
    -- More at once while they are small.
    if size > 1000000 and count < 256 then count = count * 2 end
  end
  if is_over then read = last end
end
return { life, last, lost, gone, forgotten, base, start, too_old, read, entries }
