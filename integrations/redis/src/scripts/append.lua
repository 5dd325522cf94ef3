-- Stores a batch of events, in one entry of the log.
--
-- KEYS  6.. the keys of keyed appends
-- ARGV  8 the most topics, 9 how much the log holds, 10 what a record weighs there besides its bytes,
--       11 how many events, 12 how many bytes their blocks have, 13 MessagePack of topic and block of
--       each, 14.. the numbers of those that are keyed
-- Returns milliseconds and sequence number of the first new id, which the others follow one by one,
-- then of each event that was not stored: its number, and its earlier id or why.

-- So much of the log waits at most to be sorted.
local MOST_UNSORTED = 2048

-- Makes room for a new topic, if the one that has been quiet for longest has nothing left.
local function forget()
  local oldest = redis.call('ZRANGE', TOPICS, 0, 0, 'WITHSCORES')
  if max_age == 0 or not oldest[1] or tonumber(oldest[2]) >= now - max_age - 1000 then return false end
  local state = redis.call('HGET', STATE, oldest[1])
  forgotten = later(forgotten, state and parse(state) or forgotten)
  gone = later(gone, forgotten)
  redis.call('HDEL', STATE, oldest[1])
  for mark = 0, eighth > 0 and 31 or -1 do redis.call('HDEL', MARKS, oldest[1] .. ' ' .. mark) end
  redis.call('ZREM', TOPICS, oldest[1])
  redis.call('HSET', META, 'gone', gone, 'forgotten', forgotten)
  return true
end

local records, count, bytes = ARGV[13], tonumber(ARGV[11]), tonumber(ARGV[12])

-- Whether a topic is one too many is looked at only where one can be.
local most = tonumber(ARGV[8])
local is_near = redis.call('ZCARD', TOPICS) + unsorted + count > most
local is_refused = {}
if is_near then
  -- What refuses writes refuses this one, before anything is stored: a server that is full checks no
  -- script that has begun to write.
  redis.call('HSET', META, 'last', last)
  sort()
  local room = most - redis.call('ZCARD', TOPICS)
  local fields = cmsgpack.unpack(records)
  for i = 1, #fields, 2 do
    local topic = fields[i]
    if is_refused[topic] == nil then
      is_refused[topic] = false
      if redis.call('HEXISTS', STATE, topic) == 0 then
        if room <= 0 and forget() then room = room + 1 end
        is_refused[topic] = room <= 0
        room = room - 1
      end
    end
  end
end

local ms, seq = split(last)
if now > ms then ms, seq = now, -1 end
local prefix = string.format('%d-', ms)
local answers = { prefix, seq + 1 }
local new_keys = {}
-- Most batches are stored as they are.
if is_near or ARGV[14] then
  local keys = {}
  for i = 14, #ARGV do keys[tonumber(ARGV[i])] = KEYS[i - 8] end
  local fields, kept = cmsgpack.unpack(records), {}
  count, bytes = 0, 0
  for i = 1, #fields, 2 do
    local topic, block, number = fields[i], fields[i + 1], (i - 1) / 2
    local key = keys[number]
    local failure = key and (new_keys[key] or redis.call('GET', key))
    if not failure and is_refused[topic] then failure = 'TOPICS' end
    if failure then
      answers[#answers + 1] = number
      answers[#answers + 1] = failure
    else
      kept[2 * count + 1], kept[2 * count + 2] = topic, block
      if key then new_keys[key] = prefix .. (seq + count + 1) end
      count = count + 1
      bytes = bytes + #block
    end
  end
  if count == 0 then return answers end
  records = cmsgpack.pack(kept)
end

-- The entry's id is that of its last record.
local before = last
last = prefix .. (seq + count)
redis.call('XADD', LOG, last, 'p', before, 'n', count, 'r', records)
for key, id in pairs(new_keys) do redis.call('SET', key, id, 'EX', 600) end
weight = weight + bytes + count * ARGV[10]
unsorted = unsorted + count
redis.call('HSET', META, 'last', last, 'weight', string.format('%d', weight), 'unsorted', unsorted)

local step = math.floor(ARGV[9] / 8)
local from, to = math.floor(tonumber(meta[7] or 0) / step), math.floor(weight / step)
if unsorted >= MOST_UNSORTED or from ~= to then
  -- What is stored is stored: what cannot be sorted now is later.
  pcall(sort)
end
-- The log is cut at every eighth of what it holds, to where it was seven eighths before.
for mark = math.max(from + 1, to - 7), to do
  local field = 'mark' .. (mark % 8)
  local cut = redis.call('HGET', META, field)
  if cut and is_later(cut, life) then
    if is_later(cut, sorted) then cut = sorted end
    redis.call('XTRIM', LOG, 'MINID', '=', cut)
  end
  redis.call('HSET', META, field, last)
end
return answers
