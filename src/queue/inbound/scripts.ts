/**
 * The life of an inbound job on Redis, many jobs in one script.
 *
 * BullMQ runs a script to add each job and another one to end it, and those are most of what a message costs Redis and us
 * (docs/benchmarks.md). These do the same for a whole batch. They leave exactly the keys that BullMQ 6.7 leaves: its Queue,
 * its Worker and Bull Board work on the same jobs (test/queue/inbound/scripts.test.ts). What is left out is the stream
 * of events, which nobody reads.
 *
 * All jobs taken in one call have one lock, whose name each of them has (`pb`, BullMQ's "processed by"). BullMQ has a lock
 * for each job, which would be three commands more for each of them. One for all that a consumer holds would be too few: when
 * the answer of a call is lost, its jobs have to be told from those that the consumer knows of.
 *
 * Every script is atomic and is written to the append-only file as one transaction. Keys of jobs and locks are made from
 * the prefix; its braces keep them on the node of the declared ones.
 */

/**
 * Adds the jobs whose ids are new.
 * KEYS wait, marker, meta. ARGV prefix, timestamp, options, then id, name, data for each job.
 * Gives the number of those that were there already.
 */
export const ADD = `
local wait, marker, meta = KEYS[1], KEYS[2], KEYS[3]
local prefix, timestamp, options = ARGV[1], ARGV[2], ARGV[3]
local ids = {}
for i = 4, #ARGV, 3 do
  local job = prefix .. ARGV[i]
  if redis.call('EXISTS', job) == 0 then
    redis.call('HSET', job, 'name', ARGV[i + 1], 'data', ARGV[i + 2], 'opts', options, 'timestamp', timestamp,
      'delay', 0, 'priority', 0)
    ids[#ids + 1] = ARGV[i]
  end
end
if #ids > 0 then
  redis.call('LPUSH', wait, unpack(ids))
  if redis.call('HEXISTS', meta, 'paused') == 0 then redis.call('ZADD', marker, 0, '0') end
end
return (#ARGV - 3) / 3 - #ids
`

/**
 * Takes jobs from the end of the list, where the oldest are. Gives id, data and what BullMQ has against each of them.
 *
 * Nothing for a lock that is there already: the client of a cluster sends again by itself what it has got no answer to. The
 * consumer has never heard of what the first run took, and would keep the one lock for all of it as long as it works on
 * what the second took.
 */
const TAKE_FUNCTION = `
local function take(wait, active, marker, meta, prefix, lock, lockMs, now, maxJobs, maxBytes)
  local taken, held, reply, bytes = 0, {}, {}, 0
  if maxJobs == 0 or redis.call('HEXISTS', meta, 'paused') == 1 then return reply end
  if redis.call('EXISTS', prefix .. 'taken:' .. lock) == 1 then return reply end
  local ids = redis.call('LRANGE', wait, -maxJobs, -1)
  for i = #ids, 1, -1 do
    local id = ids[i]
    local job = prefix .. id
    local fields = redis.call('HMGET', job, 'data', 'defa', 'ats')
    local data = fields[1]
    bytes = bytes + #(data or '')
    if taken > 0 and bytes > maxBytes then break end
    taken = taken + 1
    redis.call('HSET', job, 'pb', lock, 'processedOn', now, 'ats', (tonumber(fields[3]) or 0) + 1)
    held[taken] = id
    reply[#reply + 1] = id
    reply[#reply + 1] = data
    reply[#reply + 1] = fields[2]
  end
  if taken > 0 then
    redis.call('SET', prefix .. 'taken:' .. lock, now, 'PX', lockMs)
    redis.call('LTRIM', wait, 0, -(taken + 1))
    redis.call('LPUSH', active, unpack(held))
  end
  if #ids > 0 and redis.call('LLEN', wait) > 0 then redis.call('ZADD', marker, 0, '0') end
  return reply
end
`

/**
 * Takes up to a number of jobs and of bytes, at least one, under a lock of that name.
 * KEYS wait, active, marker, meta. ARGV prefix, lock, its time in ms, now in ms, most jobs, most bytes.
 * Gives id, data, reason for each; data is nil where Redis has evicted the job.
 */
export const TAKE = `${TAKE_FUNCTION}
return take(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]))
`

/**
 * Ends jobs that are ours, then takes the next ones. A job that somebody else holds by now is left to him, and where our
 * lock has run out unnoticed they are still ours to end.
 * KEYS wait, active, marker, meta, completed, failed. ARGV as for TAKE, then how long and how many completed jobs are kept,
 * what the names of our locks begin with, then id, verdict (completed, failed, back, forgotten) and returned value or reason
 * for each job.
 */
export const SETTLE = `${TAKE_FUNCTION}
local wait, active, marker, meta, completed, failed = unpack(KEYS)
local prefix, now = ARGV[1], ARGV[4]
local keepMs, keepCount, consumer = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local back, done, broken = {}, {}, {}
for i = 10, #ARGV, 3 do
  local id, verdict, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local job = prefix .. id
  local fields = redis.call('HMGET', job, 'pb', 'atm')
  -- An evicted job names nobody.
  local isOurs = not fields[1] or string.sub(fields[1], 1, #consumer) == consumer
  if isOurs and redis.call('LREM', active, -1, id) == 1 then
    if verdict == 'back' then
      table.insert(back, 1, id)
    elseif verdict == 'forgotten' then
      redis.call('UNLINK', job)
    else
      local list = verdict == 'failed' and broken or done
      list[#list + 1] = now
      list[#list + 1] = id
      redis.call('HSET', job, verdict == 'failed' and 'failedReason' or 'returnvalue', value, 'finishedOn', now,
        'atm', (tonumber(fields[2]) or 0) + 1)
      if verdict == 'failed' then redis.call('HDEL', job, 'defa') end
    end
  end
end
if #back > 0 then
  redis.call('RPUSH', wait, unpack(back))
  redis.call('ZADD', marker, 0, '0')
end
if #broken > 0 then redis.call('ZADD', failed, unpack(broken)) end
if #done > 0 then redis.call('ZADD', completed, unpack(done)) end

local function forget(ids)
  if #ids == 0 then return end
  for i, id in ipairs(ids) do ids[i] = prefix .. id end
  redis.call('UNLINK', unpack(ids))
  redis.call('ZREMRANGEBYRANK', completed, 0, #ids - 1)
end
forget(redis.call('ZRANGEBYSCORE', completed, '-inf', now - keepMs, 'LIMIT', 0, 1000))
local surplus = math.min(redis.call('ZCARD', completed) - keepCount, 1000)
if surplus > 0 then forget(redis.call('ZRANGE', completed, 0, surplus - 1)) end

return take(wait, active, marker, meta, prefix, ARGV[2], ARGV[3], now, tonumber(ARGV[5]), tonumber(ARGV[6]))
`

/**
 * Renews locks. KEYS the locks. ARGV now in ms, their time in ms.
 * A script and no plain SET, because that is refused while Redis is full (run-script.ts).
 */
export const HOLD = `for _, lock in ipairs(KEYS) do redis.call('SET', lock, ARGV[1], 'PX', ARGV[2]) end`

/**
 * Puts jobs back that nobody holds any more: neither one of our consumers, nor a worker of BullMQ. Whoever asks first within
 * the interval does it for all. A job that lost its consumer too often is marked to be failed.
 * KEYS wait, active, marker, stalled-check. ARGV prefix, interval in ms, now in ms, most losses.
 * Gives the number of jobs put back.
 */
export const RECOVER = `
local wait, active, marker, check = unpack(KEYS)
local prefix, intervalMs, now, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('SET', check, now, 'PX', intervalMs, 'NX') == false then return 0 end
local isThere = {}
local function isHeld(id)
  local lock = redis.call('HGET', prefix .. id, 'pb') or ''
  if isThere[lock] == nil then isThere[lock] = redis.call('EXISTS', prefix .. 'taken:' .. lock) == 1 end
  return isThere[lock] or redis.call('EXISTS', prefix .. id .. ':lock') == 1
end
local back = 0
for _, id in ipairs(redis.call('LRANGE', active, 0, -1)) do
  if not isHeld(id) and redis.call('LREM', active, 1, id) == 1 then
    local job = prefix .. id
    if redis.call('HINCRBY', job, 'stc', 1) > most then
      redis.call('HSET', job, 'defa', 'job stalled more than allowable limit')
    end
    redis.call('RPUSH', wait, id)
    back = back + 1
  end
end
if back > 0 then redis.call('ZADD', marker, 0, '0') end
return back
`
