-- What every script of fanfare-redis begins with: the log's own state, and a new life of the log
-- where there is none.
--
-- KEYS  1 meta, 2 log, 3 topics, 4 state
-- ARGV  1 the server's run id, 2 '1' if this server can have lost nothing that it ever answered,
--       3 the newest id that the caller has seen
local META, LOG, TOPICS, STATE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

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

local meta = redis.call('HMGET', META, 'life', 'last', 'run', 'lost', 'gone', 'forgotten', 'bytes')
local life, last, run, lost = meta[1], meta[2], meta[3], meta[4]
local gone, forgotten, bytes = meta[5], meta[6], tonumber(meta[7] or 0)
do
  local known = ARGV[3]
  local known_ms = split(known)
  if not life then
    -- Later than every id of an earlier life, also of one that ended in this very millisecond; and
    -- than those of another log that began in it, by the microseconds.
    life = (math.max(now, known_ms) + 1) .. '-' .. (time[2] % 1000)
    last, lost, gone, forgotten, bytes = life, life, life, life, 0
    redis.call('HSET', META, 'life', life, 'last', life, 'run', ARGV[1], 'lost', life,
      'gone', life, 'forgotten', life, 'bytes', 0)
    redis.call('UNLINK', LOG, TOPICS, STATE)
  elseif run ~= ARGV[1] or is_later(known, last) then
    if ARGV[2] ~= '1' or is_later(known, last) then
      -- A restart or a failover. What was stored last may be gone, and no id of it may come again.
      last = (math.max(now, known_ms, (split(last))) + 1) .. '-0'
      lost = last
    end
    redis.call('HSET', META, 'run', ARGV[1], 'last', last, 'lost', lost)
  end
end

-- The newest place up to which the log's records are gone from its own stream.
local function base()
  local first = redis.call('XRANGE', LOG, '-', '+', 'COUNT', 1)[1]
  if not first then return last end
  return first[2][6]
end

-- A topic's state: the newest id, all bytes ever, those of them that are gone, the newest evicted id,
-- how many records there are.
local function parse(state)
  return string.match(state, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
end
