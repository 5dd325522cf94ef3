-- Brings records from the log into their topics' streams, many at once: one entry holds many records of
-- a topic, and its id is that of the last. Whoever reads does this first, so that a topic's stream
-- and state are always found as if each record came there at once.
--
-- An entry of the log    p PLACE, n COUNT, r MessagePack of TOPIC, BLOCK of each record; the place is
--                        that of the record before
-- An entry of a topic    p 'PLACE BYTES RECORDS', n COUNT, r MessagePack of MILLISECONDS, SEQUENCE,
--                        BLOCK of each; the place is that of the topic's record before, bytes and
--                        records are all that ever came before

-- About so many records are sorted at once: Lua passes no more than 8,000 values on.
local AT_ONCE = 2048

-- An entry is retained or evicted as a whole. Of topics that hold many records, an eighth of them goes
-- at once.
local eighth = max_records >= 64 and math.floor(max_records / 8) or 0
local entry_records = math.max(1, math.min(eighth / 2, 128))
local entry_bytes = math.min(max_bytes / 16, 65536)

-- A topic's state: the newest id, all bytes ever, those of them that are gone, the newest evicted id,
-- all records ever, those of them that are gone.
local function parse(state)
  return string.match(state, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
end

local function id_of(ms, seq)
  return string.format('%d-%d', ms, seq)
end

-- Lets go of a topic's records up to a place, of which is given what an entry behind it says; or of all.
local function cut(topic, meta)
  if meta then
    local place, bytes, count = string.match(meta, '^(%S+) (%S+) (%S+)$')
    topic.evicted, topic.bytes_gone, topic.count_gone = place, tonumber(bytes), tonumber(count)
  else
    topic.evicted, topic.bytes_gone, topic.count_gone = topic.last, topic.bytes, topic.count
  end
end

-- What an entry says that comes next.
local function meta_of(topic)
  return string.format('%s %d %d', topic.last, topic.bytes, topic.count)
end

-- Which of a topic's marks tells where an eighth begins: to be cut there, no entry need be read.
local function mark_of(topic, count)
  return string.format('%s %d', topic.name, math.floor(count / eighth) % 32)
end

-- Stores a topic's new records behind those that it has, as far as they will be retained.
local function add(topic)
  local key, from = topic.key, 1
  local excess = #topic / 3 - max_records
  if excess > 0 then
    for i = 3, 3 * excess, 3 do topic.bytes = topic.bytes + #topic[i] end
    from = 3 * excess + 1
    topic.count, topic.last = topic.count + excess, id_of(topic[from - 3], topic[from - 2])
    cut(topic)
    topic.is_anew = true
  end
  -- Also what a lost state or a stranger has left there.
  if topic.is_anew then redis.call('UNLINK', key) end
  while from <= #topic do
    local meta = meta_of(topic)
    local entry, size, count = {}, 0, 0
    repeat
      local ms, seq, block = topic[from], topic[from + 1], topic[from + 2]
      entry[3 * count + 1], entry[3 * count + 2], entry[3 * count + 3] = ms, seq, block
      size, count, from = size + #block, count + 1, from + 3
    until from > #topic or count >= entry_records or size >= entry_bytes
    topic.last = id_of(topic[from - 3], topic[from - 2])
    redis.call('XADD', key, topic.last, 'p', meta, 'n', count, 'r', cmsgpack.pack(entry))
    local was = topic.count
    topic.bytes, topic.count = topic.bytes + size, was + count
    if eighth > 0 and math.floor(was / eighth) ~= math.floor(topic.count / eighth) then
      redis.call('HSET', MARKS, mark_of(topic, topic.count), meta_of(topic))
    end
  end
end

-- Lets go of what retention does not keep.
local function trim(topic)
  local key = topic.key
  if max_age > 0 then
    if redis.call('XTRIM', key, 'MINID', '=', young) > 0 then
      local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
      cut(topic, first and first[2][2])
    end
    -- With a quarter of slack: who reads looks at the age itself.
    redis.call('PEXPIRE', key, math.ceil(max_age * 1.25))
  else
    -- There may have been a limit.
    redis.call('PERSIST', key)
  end
  local is_full = topic.count - topic.count_gone > max_records
  if is_full and eighth > 0 then
    local mark = redis.call('HGET', MARKS, mark_of(topic, topic.count - max_records + eighth - 1))
    local place = mark and string.match(mark, '^%S+')
    if place and is_later(place, topic.evicted) and is_later(topic.last, place) then
      local ms, seq = split(place)
      redis.call('XTRIM', key, 'MINID', '=', id_of(ms, seq + 1))
      cut(topic, mark)
      is_full = topic.count - topic.count_gone > max_records
    end
  end
  local is_over = is_full or topic.bytes - topic.bytes_gone > max_bytes
  local keep = topic.count - (max_records - eighth)
  while is_over do
    local entries, first = redis.call('XRANGE', key, '-', '+', 'COUNT', 16), nil
    for _, entry in ipairs(entries) do
      first = entry
      cut(topic, entry[2][2])
      local behind = topic.count_gone + entry[2][4]
      local goes = (is_full and behind <= keep) or topic.bytes - topic.bytes_gone > max_bytes
      -- The newest is kept, whatever its size.
      is_over = goes and entry[1] ~= topic.last
      if not is_over then break end
    end
    if not first then break end
    redis.call('XTRIM', key, 'MINID', '=', first[1])
  end
end

-- Takes back what was added to a topic's stream, and notes what was cut from it, when that failed before
-- the topic's state was written.
local function mend(topic)
  local key = topic.key
  -- Written once more: a stream whose newest entries are deleted takes no older ones.
  local kept = redis.call('XRANGE', key, '-', topic.last)
  redis.call('UNLINK', key)
  for _, entry in ipairs(kept) do redis.call('XADD', key, entry[1], unpack(entry[2])) end
  cut(topic, kept[1] and kept[1][2][2])
  topic.is_anew = not kept[1]
end

-- The records of the log's next entries by topic, how many they are, and up to where.
local function unsorted_topics()
  local topics, by_name, count, place = {}, {}, 0, sorted
  repeat
    local entries = redis.call('XRANGE', LOG, '(' .. place, '+', 'COUNT', 16)
    for _, entry in ipairs(entries) do
      local id, fields = entry[1], entry[2]
      -- The log itself has lost what was between.
      if is_later(fields[2], place) then lost = later(lost, fields[2]) end
      local ms, seq = split(id)
      seq = seq - fields[4]
      local records = cmsgpack.unpack(fields[6])
      for i = 1, #records, 2 do
        local name = records[i]
        local topic = by_name[name]
        if not topic then
          topic = { name = name, key = ARGV[4] .. name }
          by_name[name] = topic
          topics[#topics + 1] = topic
        end
        seq = seq + 1
        local at = #topic
        topic[at + 1], topic[at + 2], topic[at + 3] = ms, seq, records[i + 1]
      end
      place = id
      count = count + fields[4]
      if count >= AT_ONCE then break end
    end
  until #entries < 16 or count >= AT_ONCE
  return topics, count, place
end

local function sort_some()
  local topics, count, place = unsorted_topics()
  if #topics == 0 then
    sorted, unsorted = last, 0
    redis.call('HSET', META, 'sorted', sorted, 'unsorted', 0, 'lost', later(lost, last))
    return
  end
  local names = {}
  for i, topic in ipairs(topics) do names[i] = topic.name end
  local states = redis.call('HMGET', STATE, unpack(names))
  for i, topic in ipairs(topics) do
    -- Every key is read before any is written: if a cluster is moving one, nothing has been done.
    local length = redis.pcall('XLEN', topic.key)
    if type(length) == 'table' and not string.find(length.err, 'WRONGTYPE') then
      error('TRYAGAIN ' .. length.err)
    end
    if states[i] then
      local bytes, bytes_gone, total, total_gone
      topic.last, bytes, bytes_gone, topic.evicted, total, total_gone = parse(states[i])
      topic.bytes, topic.bytes_gone = tonumber(bytes), tonumber(bytes_gone)
      topic.count, topic.count_gone = tonumber(total), tonumber(total_gone)
      topic.was_evicted = topic.evicted
      topic.second = string.sub(topic.last, 1, string.find(topic.last, '-', 1, true) - 4)
      -- Age has evicted all of it, or somebody else has.
      if type(length) == 'table' or length == 0 then
        cut(topic)
        topic.is_anew = true
      else
        topic.is_to_mend = is_torn
      end
    else
      -- Nothing is known of a topic that was forgotten, but that.
      topic.last, topic.evicted, topic.was_evicted = forgotten, forgotten, forgotten
      topic.bytes, topic.bytes_gone, topic.count, topic.count_gone = 0, 0, 0, 0
      topic.is_anew = true
    end
  end

  -- It begins with what makes room: a full server lets that pass, and all that a script does after it.
  redis.call('HDEL', META, 'torn')
  redis.call('HSET', META, 'torn', 1)
  local news, scores = {}, {}
  for i, topic in ipairs(topics) do
    if topic.is_to_mend then mend(topic) end
    add(topic)
    trim(topic)
    if topic.evicted ~= topic.was_evicted then gone = later(gone, topic.evicted) end
    news[2 * i - 1] = topic.name
    news[2 * i] = topic.last .. ' ' .. string.format('%d %d ', topic.bytes, topic.bytes_gone) ..
      topic.evicted .. ' ' .. string.format('%d %d', topic.count, topic.count_gone)
    -- Once a second of each topic: who asks for news asks from the beginning of a second.
    local ms = string.sub(topic.last, 1, string.find(topic.last, '-', 1, true) - 1)
    if string.sub(ms, 1, -4) ~= topic.second then
      scores[#scores + 1] = ms
      scores[#scores + 1] = topic.name
    end
  end
  if #scores > 0 then redis.call('ZADD', TOPICS, unpack(scores)) end
  redis.call('HSET', STATE, unpack(news))
  sorted, unsorted = place, math.max(0, unsorted - count)
  is_torn = false
  redis.call('HSET', META, 'sorted', sorted, 'unsorted', unsorted, 'gone', gone, 'lost', lost, 'torn', 0)
end

local function sort()
  while unsorted > 0 do sort_some() end
end
