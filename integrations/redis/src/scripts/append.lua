-- Stores a batch of events.
--
-- KEYS  5.. the streams of the topics, then the keys of keyed appends
-- ARGV  4 records, 5 bytes and 6 milliseconds that a topic retains (0: any age), 7 the most
--       topics, 8 records and 9 bytes that the log holds, 10 how many topics, 11.. their names,
--       then of each event: its topic's number, its block, its key's number in KEYS or 0
-- Returns milliseconds and sequence number of the first new id, which the others follow one by one,
-- then of each event that was not stored: its number, and its earlier id or why.
local max_records, max_bytes, max_age = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local count = tonumber(ARGV[10])
local names = {}
for i = 1, count do names[i] = ARGV[10 + i] end

-- Makes room for a new topic, if the one that has been quiet for longest has nothing left.
local function forget()
  local oldest = redis.call('ZRANGE', TOPICS, 0, 0, 'WITHSCORES')
  if max_age == 0 or not oldest[1] or tonumber(oldest[2]) >= now - max_age - 1000 then return false end
  local state = redis.call('HGET', STATE, oldest[1])
  forgotten = later(forgotten, state and parse(state) or forgotten)
  gone = later(gone, forgotten)
  redis.call('HDEL', STATE, oldest[1])
  redis.call('ZREM', TOPICS, oldest[1])
  return true
end

-- What refuses writes refuses this one, before anything is stored: a server that is full checks no
-- script that has begun to write.
redis.call('HSET', META, 'last', last)

local topics = {}
local room
local states = redis.call('HMGET', STATE, unpack(names))
for i = 1, count do
  local topic = { name = names[i], key = KEYS[4 + i] }
  if states[i] then
    -- As text where it is passed on: numbers are slow to write.
    topic.last, topic.bytes, topic.base, topic.evicted, topic.count = parse(states[i])
    topic.was_evicted = topic.evicted
  else
    room = room or (tonumber(ARGV[7]) - redis.call('ZCARD', TOPICS))
    if room <= 0 and forget() then room = room + 1 end
    topic.refused = room <= 0
    room = room - 1
    topic.is_new, topic.is_fresh = true, true
    -- Nothing is known of a topic that was forgotten, but that.
    topic.last, topic.bytes, topic.base, topic.evicted, topic.count = forgotten, '0', '0', forgotten, '0'
    topic.was_evicted = forgotten
  end
  topic.was_last = topic.last
  topics[i] = topic
end

local ms, seq = split(last)
if now > ms then ms, seq = now, -1 end
local prefix = string.format('%d-', ms)
local answers = { prefix, seq + 1 }
local touched = {}
for i = 11 + count, #ARGV, 3 do
  local topic, block, key = topics[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2]
  local known = key ~= '0' and redis.call('GET', KEYS[tonumber(key)])
  local failure
  if known then
    failure = known
  elseif topic.refused then
    failure = 'TOPICS'
  else
    if topic.is_new then
      -- What a lost state has left behind.
      redis.call('UNLINK', topic.key)
      topic.is_new = false
    end
    local id = prefix .. (seq + 1)
    local stored = redis.pcall('XADD', topic.key, id, 'b', block, 'p', topic.last, 'c', topic.bytes)
    if type(stored) == 'table' then
      failure = stored.err
    else
      redis.call('XADD', LOG, id, 't', topic.name, 'b', block, 'p', last)
      if key ~= '0' then redis.call('SET', KEYS[tonumber(key)], id, 'EX', 600) end
      seq = seq + 1
      last = id
      topic.last = id
      topic.bytes = string.format('%d', topic.bytes + #block)
      topic.count = topic.count + 1
      bytes = bytes + #block
      if not topic.is_touched then
        topic.is_touched = true
        touched[#touched + 1] = topic
      end
    end
  end
  if failure then
    answers[#answers + 1] = (i - 11 - count) / 3
    answers[#answers + 1] = failure
  end
end
if #touched == 0 then return answers end

-- Once a second of each topic: who asks for news asks from the beginning of a second.
local score, second = string.sub(prefix, 1, -2), string.sub(prefix, 1, -5)
local scores, news = {}, {}
for i = 1, #touched do
  local topic = touched[i]
  local trimmed = 0
  if tonumber(topic.count) > max_records then
    -- Of many, an eighth at once: what is cut costs the same however much it is.
    topic.count = max_records
    if max_records >= 64 then topic.count = max_records - math.floor(max_records / 8) end
    trimmed = redis.call('XTRIM', topic.key, 'MAXLEN', '=', topic.count)
  end
  if max_age > 0 then
    trimmed = trimmed + redis.call('XTRIM', topic.key, 'MINID', '=', math.max(0, now - max_age))
    -- With a quarter of slack: who reads looks at the age itself.
    redis.call('PEXPIRE', topic.key, math.ceil(max_age * 1.25))
  end
  if trimmed > 0 then
    local first = redis.call('XRANGE', topic.key, '-', '+', 'COUNT', 1)[1]
    topic.evicted, topic.base = first[2][4], first[2][6]
  end
  while topic.bytes - topic.base > max_bytes do
    local entries = redis.call('XRANGE', topic.key, '-', '+', 'COUNT', 16)
    local keep
    for _, entry in ipairs(entries) do
      keep = entry
      if entry[1] == topic.last or topic.bytes - entry[2][6] <= max_bytes then break end
    end
    redis.call('XTRIM', topic.key, 'MINID', '=', keep[1])
    topic.evicted, topic.base = keep[2][4], keep[2][6]
    if keep[1] == topic.last then break end
  end
  if topic.was_evicted ~= topic.evicted then
    gone = later(gone, topic.evicted)
    topic.count = redis.call('XLEN', topic.key)
  end
  if topic.is_fresh or string.sub(topic.was_last, 1, #second) ~= second then
    scores[#scores + 1] = score
    scores[#scores + 1] = topic.name
  end
  news[2 * i - 1] = topic.name
  news[2 * i] = topic.last .. ' ' .. topic.bytes .. ' ' .. topic.base .. ' ' .. topic.evicted ..
    ' ' .. topic.count
end
if #scores > 0 then redis.call('ZADD', TOPICS, unpack(scores)) end
redis.call('HSET', STATE, unpack(news))

-- The log itself is cut by whole nodes of its stream, and by bytes at every eighth of its limit.
redis.call('XTRIM', LOG, 'MAXLEN', '~', ARGV[8])
local eighth = math.max(1, math.floor(tonumber(ARGV[9]) / 8))
local from, to = math.floor((tonumber(meta[7] or 0)) / eighth), math.floor(bytes / eighth)
for mark = math.max(from + 1, to - 7), to do
  local field = 'mark' .. (mark % 8)
  local cut = redis.call('HGET', META, field)
  if cut and is_later(cut, life) then redis.call('XTRIM', LOG, 'MINID', '=', cut) end
  redis.call('HSET', META, field, last)
end
redis.call('HSET', META, 'last', last, 'gone', gone, 'forgotten', forgotten, 'bytes',
  string.format('%.0f', bytes))
return answers
