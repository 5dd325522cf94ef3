-- Reads topics' own streams, which hold all that is retained of them.
--
-- KEYS  6.. the streams
-- ARGV  8 after which id, or nothing; 9 how many records of each topic; 10 how many bytes; 11.. the
--       names
-- Returns life, last, lost, gone, forgotten, where it begins, and of each topic: the newest evicted id,
-- whether there is more, and the records as milliseconds, sequence number and block.
local after, limit, size = ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
sort()
local is_known = after ~= '' and not is_later(life, after) and not is_later(after, last)
local start = is_known and after or life

-- Up to here, all that was read so far is there: what is behind it is for another page.
local upto_ms, upto_seq = split(last)

-- Reads one of them: what is behind a place and young enough. Returns the newest id that is too old
-- or nothing, whether there is more, the records, and their bytes.
local function read(key, place, newest, size)
  local found, count, bytes, entries, is_old = {}, 0, 0, 0, nil
  local place_ms, place_seq = split(place)
  local is_over = not is_later(newest, place)
  while not is_over do
    if count == limit then return is_old, true, found, bytes end
    local asked = how_many(entries, limit - count, count, size - bytes, bytes)
    local chunk = redis.call('XRANGE', key, '(' .. place, '+', 'COUNT', asked)
    is_over = #chunk < asked
    entries = entries + #chunk
    for _, entry in ipairs(chunk) do
      local records = cmsgpack.unpack(entry[2][6])
      for i = 1, #records, 3 do
        local ms, seq, block = records[i], records[i + 1], records[i + 2]
        -- The first entry may begin before the place, and with what is too old.
        if ms < young then
          is_old = id_of(ms, seq)
        elseif ms > place_ms or (ms == place_ms and seq > place_seq) then
          if ms > upto_ms or (ms == upto_ms and seq > upto_seq) then
            return is_old, false, found, bytes
          end
          -- One has its place, whatever its size.
          if count == limit or (count > 0 and bytes + #block > size) then
            return is_old, true, found, bytes
          end
          found[3 * count + 1], found[3 * count + 2], found[3 * count + 3] = ms, seq, block
          count = count + 1
          bytes = bytes + #block
        end
      end
      place = entry[1]
    end
    is_over = is_over or not is_later(newest, place)
  end
  return is_old, false, found, bytes
end

local answers = {}
for i = 6, #KEYS do
  local key, state = KEYS[i], redis.call('HGET', STATE, ARGV[i + 5])
  if not state then
    answers[i - 5] = { forgotten, 0, {} }
  else
    local newest, _, _, evicted = parse(state)
    if redis.call('EXISTS', key) == 0 then
      evicted = newest
    elseif young > 0 then
      local old = redis.call('XREVRANGE', key, young - 1, '-', 'COUNT', 1)[1]
      if old then evicted = later(evicted, old[1]) end
    end
    -- Each has its share of the bytes: what one does not take is for those behind it.
    local share = size / (#KEYS - i + 1)
    local is_old, has_more, found, bytes = read(key, later(start, evicted), newest, share)
    size = size - bytes
    if has_more then upto_ms, upto_seq = found[#found - 2], found[#found - 1] end
    answers[i - 5] = { is_old or evicted, has_more and 1 or 0, found }
  end
end
return { life, last, lost, gone, forgotten, start, answers }
