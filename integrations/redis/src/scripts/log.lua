-- Reads the log's own stream, which holds the newest records of all topics.
--
-- ARGV  8 where to begin: 'page', 'tail' or 'resume'; 9 after which id, or nothing; 10 how many
--       records; 11 how many of all records it looks at, about; 12 how many bytes of those
-- Returns life, last, lost, gone, forgotten, where it begins, the newest id that is too old or nothing,
-- the end it has come to or nothing if it cannot begin there, and the records as id, topic and block:
-- for a page those that are retained, else all.
local mode, after, limit, scan = ARGV[8], ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local size = tonumber(ARGV[12])
if mode ~= 'resume' then sort() end
local base = base()
local is_known = after ~= '' and not is_later(life, after) and not is_later(after, last)

local start
if mode == 'page' then
  start = is_known and after or life
elseif after == '' then
  start = last
else
  start = later(lost, base)
  if is_known then start = later(start, after) end
  -- Retention evicts amid an entry too; who goes on, does so where an entry begins.
  if mode == 'tail' then start = later(start, gone) end
end

local too_old = ''
if mode == 'page' and young > 0 then
  local found = redis.call('XREVRANGE', LOG, young - 1, '-', 'COUNT', 1)[1]
  if found then too_old = found[1] end
end

-- The newest evicted id of each topic that is met.
local evicted = {}
local function is_left(ms, seq, topic)
  local before = evicted[topic]
  if not before then
    local state = redis.call('HGET', STATE, topic)
    local _, _, _, newest = parse(state or '- - - - - -')
    before = { split(state and newest or forgotten) }
    evicted[topic] = before
  end
  return ms >= young and (ms > before[1] or (ms == before[1] and seq > before[2]))
end

local found, read, count = {}, start, 0
if is_later(base, start) then
  read = ''
else
  local start_ms, start_seq = split(start)
  local is_over, is_full, entries, looked_at, bytes = false, limit == 0, 0, 0, 0
  while not (is_over or is_full) and looked_at < scan do
    local asked = how_many(entries, math.min(scan - looked_at, limit - count), looked_at,
      size - bytes, bytes)
    local chunk = redis.call('XRANGE', LOG, '(' .. read, '+', 'COUNT', asked)
    is_over = #chunk < asked
    entries = entries + #chunk
    for _, entry in ipairs(chunk) do
      local id, fields = entry[1], entry[2]
      local ms, seq = split(id)
      local prefix = string.match(id, '^%d+%-')
      seq = seq - fields[4]
      local records = cmsgpack.unpack(fields[6])
      for i = 1, #records, 2 do
        local topic, block = records[i], records[i + 1]
        seq = seq + 1
        -- The first entry may begin before the start.
        if ms > start_ms or seq > start_seq then
          -- One has its place, whatever its size.
          is_full = count == limit or (looked_at > 0 and bytes + #block > size)
          if is_full then break end
          read = prefix .. seq
          looked_at = looked_at + 1
          bytes = bytes + #block
          if mode ~= 'page' or is_left(ms, seq, topic) then
            found[3 * count + 1], found[3 * count + 2], found[3 * count + 3] = read, topic, block
            count = count + 1
          end
        end
      end
      if is_full then break end
    end
  end
  if is_over and not is_full then read = last end
end
return { life, last, lost, gone, forgotten, start, too_old, read, found }
