-- Reads topics' own streams, which hold all that is retained of them.
--
-- KEYS  5.. the streams
-- ARGV  4 after which id, or nothing; 5 up to which id, or '+'; 6 how many records of each topic;
--       7 how many bytes; 8 milliseconds that a topic retains (0: any age); 9.. the names
-- Returns life, last, lost, gone, forgotten, base, where it begins, and of each topic: the newest
-- evicted id, whether there is more, and the entries as id and block.
local after, upto, limit, size = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local max_age = tonumber(ARGV[8])
local is_known = after ~= '' and not is_later(life, after) and not is_later(after, last)
local start = is_known and after or life

local found = {}
for i = 5, #KEYS do
  local key, name = KEYS[i], ARGV[i + 4]
  local state = redis.call('HGET', STATE, name)
  local newest, _, _, evicted = parse(state or '- - - - -')
  if not state then
    evicted = forgotten
  elseif redis.call('EXISTS', key) == 0 then
    evicted = newest
  elseif max_age > 0 then
    local old = redis.call('XREVRANGE', key, math.max(0, now - max_age - 1), '-', 'COUNT', 1)[1]
    if old then evicted = later(evicted, old[1]) end
  end

  local entries, read, has_more = {}, later(start, evicted), state and is_later(newest, start)
  local count = 16
  while has_more and #entries < 2 * limit do
    -- One at least, so that every page leads on.
    if size <= 0 then
      if #entries > 0 then break end
      count = 1
    end
    local asked = math.min(count, limit - #entries / 2)
    local chunk = redis.call('XRANGE', key, '(' .. read, upto, 'COUNT', asked)
    for _, entry in ipairs(chunk) do
      entries[#entries + 1], entries[#entries + 2] = entry[1], entry[2][2]
      size = size - #entry[2][2]
      read = entry[1]
    end
    has_more = #chunk == asked and is_later(newest, read)
    if size > 1000000 and count < 256 then count = count * 2 end
  end
  found[i - 4] = { evicted, has_more and 1 or 0, entries }
end
return { life, last, lost, gone, forgotten, '', start, found }
