-- What every script of fanfare-redis begins with: the log's own state, a new life of the log where
-- there is none. IS_READER is set by who sends it: whether the script stores nothing of its own.
--
-- KEYS  1 meta, 2 log, 3 topics, 4 state, 5 marks
-- ARGV  1 the server's run id, 2 '1' if this server can have lost nothing that it ever answered,
--       3 the newest id that the caller has seen, 4 what the topics' keys begin with,
--       5 records, 6 bytes and 7 milliseconds that a topic retains (0: any age)
local META, LOG, TOPICS, STATE, MARKS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local max_records, max_bytes, max_age = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

local function split(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function is_later(a, b)
  local a_ms, a_seq = split(a)
  local b_ms, b_seq = split(b)
  return a_ms > b_ms or (a_ms == b_ms and a_seq > b_seq)
end

local function later(a, b)
  if is_later(a, b) then return a end
  return b
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- What is older than this millisecond is too old.
local young = max_age > 0 and math.max(0, now - max_age) or 0

local meta = redis.call('HMGET', META, 'life', 'last', 'run', 'lost', 'gone', 'forgotten',
  'weight', 'sorted', 'unsorted', 'torn')
local life, last, run, lost = meta[1], meta[2], meta[3], meta[4]
local gone, forgotten, weight = meta[5], meta[6], tonumber(meta[7] or 0)
-- Whether records were being sorted when that failed.
local is_torn = meta[10] == '1'
-- Up to where records have come into their topics' streams, and how many have not yet.
local sorted, unsorted = meta[8], tonumber(meta[9] or 0)

-- A full server lets a script write that has begun with what makes room. To be read, a log must be
-- written to; but to be stored in, a full server must not.
local function make_room()
  if IS_READER then redis.call('HDEL', META, 'room') end
end

do
  local known = ARGV[3]
  local known_ms = split(known)
  if not life then
    -- Later than every id of an earlier life, also of one that ended in this very millisecond; and
    -- than those of another log that began in it, by the microseconds.
    life = (math.max(now, known_ms) + 1) .. '-' .. (time[2] % 1000)
    last, lost, gone, forgotten, weight = life, life, life, life, 0
    sorted, unsorted = life, 0
    make_room()
    redis.call('HSET', META, 'life', life, 'last', life, 'run', ARGV[1], 'lost', life,
      'gone', life, 'forgotten', life, 'weight', 0, 'sorted', life)
    redis.call('UNLINK', LOG, TOPICS, STATE, MARKS)
  elseif run ~= ARGV[1] or is_later(known, last) then
    if ARGV[2] ~= '1' or is_later(known, last) then
      -- A restart or a failover. What was stored last may be gone, and no id of it may come again.
      last = (math.max(now, known_ms, (split(last))) + 1) .. '-0'
      lost = last
    end
    make_room()
    redis.call('HSET', META, 'run', ARGV[1], 'last', last, 'lost', lost)
  end
end

-- The newest place up to which the log's records are gone from its own stream.
local function base()
  local first = redis.call('XRANGE', LOG, '-', '+', 'COUNT', 1)[1]
  if not first then return last end
  return first[2][2]
end

-- How many entries to read for so many records and bytes, as those read before let expect: one holds
-- a record or some hundred.
local function how_many(entries, records, records_read, bytes, bytes_read)
  if entries == 0 then return 1 end
  local count = math.min(records / math.max(1, records_read), bytes / math.max(1, bytes_read)) * entries
  return math.max(1, math.min(256, math.floor(count)))
end
