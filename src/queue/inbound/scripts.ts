/**
 * The life of an inbound job on Redis, many jobs in one script.
 *
 * BullMQ runs one script to add each job and another one to complete it, and these are most of what a message costs Redis
 * and this process (docs/benchmarks.md). The scripts here do the same for a whole batch. They leave exactly the keys that
 * BullMQ 6.7 leaves, so its Queue, its Worker and Bull Board work on the same jobs (test/queue/inbound/inbound-jobs.test.ts).
 * Only BullMQ's stream of events is left out, because nothing reads it.
 *
 * All jobs reserved in one call share one lock, whose name each job has in the field `pb` (BullMQ's "processed by"). BullMQ
 * has one lock for each job, which costs three more commands for each. One lock for a whole consumer would not be enough:
 * when the answer to a call is lost, the jobs in it must lose their lock while the consumer's other jobs keep theirs.
 *
 * A lock is the key `<prefix>taken:<lock name>`. This key keeps its name: workers of two versions run side by side during
 * an update, and each must see the other's locks.
 *
 * Every script is atomic, and Redis writes it to the append-only file as one transaction. The scripts build the keys of jobs
 * and locks from the prefix, whose braces keep them on the node of the declared keys.
 */

/**
 * Adds the jobs whose ids are new. An event whose id is taken by an event of another business number is no duplicate: it is
 * added under the id that the number makes of it (core/job-id.ts), and the database decides. The numbers are compared as text
 * of the JSON: inside the payload, which is a string, every quote has a backslash before it.
 * KEYS wait, marker, meta. ARGV prefix, timestamp, options, mark, then id, name, data for each job.
 * Returns the number of duplicates, which it drops.
 */
export const ADD = `
local wait, marker, meta = KEYS[1], KEYS[2], KEYS[3]
local prefix, timestamp, options, mark = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ids = {}
local function numberIn(data)
  return data and string.match(data, '"business_number":("[^"]*")')
end
local function freeId(id, data)
  if redis.call('EXISTS', prefix .. id) == 0 then return id end
  local number = numberIn(data)
  local taken = number and numberIn(redis.call('HGET', prefix .. id, 'data'))
  if not taken or taken == number then return nil end
  local other = id .. mark .. redis.sha1hex(number)
  return redis.call('EXISTS', prefix .. other) == 0 and other or nil
end
for i = 5, #ARGV, 3 do
  local id, name, data = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local free = freeId(id, data)
  if free then
    redis.call('HSET', prefix .. free, 'name', name, 'data', data, 'opts', options, 'timestamp', timestamp,
      'delay', 0, 'priority', 0)
    ids[#ids + 1] = free
  end
end
if #ids > 0 then
  redis.call('LPUSH', wait, unpack(ids))
  if redis.call('HEXISTS', meta, 'paused') == 0 then redis.call('ZADD', marker, 0, '0') end
end
return (#ARGV - 4) / 3 - #ids
`

/**
 * Reserves jobs from the end of the list, where the oldest are. Before that, delayed jobs that are due go to its beginning, as
 * with BullMQ: so jobs that are delayed again and again let the others go first. The score of a delayed job is its time in
 * ms, times 4096.
 *
 * Reserves nothing when the lock exists already: a cluster client repeats a call by itself when the answer was lost. The
 * consumer never learns which jobs the first run reserved; if both runs shared the lock, it would keep them locked for as
 * long as it works on the jobs of the second run.
 */
const RESERVE_FUNCTION = `
local function promote(wait, delayed, prefix, now)
  local due = redis.call('ZRANGEBYSCORE', delayed, 0, (now + 1) * 4096 - 1, 'LIMIT', 0, 1000)
  if #due == 0 then return end
  redis.call('ZREM', delayed, unpack(due))
  for _, id in ipairs(due) do redis.call('HSET', prefix .. id, 'delay', 0) end
  redis.call('LPUSH', wait, unpack(due))
end

local function reserve(wait, active, marker, meta, delayed, prefix, lock, lockMs, now, maxJobs, maxBytes)
  local reserved, reply, bytes = {}, {}, 0
  if maxJobs == 0 or redis.call('HEXISTS', meta, 'paused') == 1 then return reply end
  if redis.call('EXISTS', prefix .. 'taken:' .. lock) == 1 then return reply end
  promote(wait, delayed, prefix, now)
  local ids = redis.call('LRANGE', wait, -maxJobs, -1)
  for i = #ids, 1, -1 do
    local id = ids[i]
    local job = prefix .. id
    local fields = redis.call('HMGET', job, 'data', 'defa', 'ats')
    local data = fields[1]
    bytes = bytes + #(data or '')
    if #reserved > 0 and bytes > maxBytes then break end
    redis.call('HSET', job, 'pb', lock, 'processedOn', now, 'ats', (tonumber(fields[3]) or 0) + 1)
    reserved[#reserved + 1] = id
    reply[#reply + 1] = id
    reply[#reply + 1] = data
    reply[#reply + 1] = fields[2]
  end
  if #reserved > 0 then
    redis.call('SET', prefix .. 'taken:' .. lock, now, 'PX', lockMs)
    redis.call('LTRIM', wait, 0, -(#reserved + 1))
    redis.call('LPUSH', active, unpack(reserved))
  end
  if #ids > 0 and redis.call('LLEN', wait) > 0 then redis.call('ZADD', marker, 0, '0') end
  return reply
end
`

/**
 * Reserves jobs up to a number of jobs and of bytes, at least one, under a new lock.
 * KEYS wait, active, marker, meta, delayed. ARGV prefix, name of the lock, its life in ms, now in ms, most jobs, most bytes.
 * Returns id, data and failed reason (BullMQ's "deferred failure") of each job. Data is nil when Redis has evicted the job.
 */
export const RESERVE = `${RESERVE_FUNCTION}
return reserve(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]),
  tonumber(ARGV[6]))
`

/**
 * Completes jobs of this consumer, then reserves the next ones. It skips a job that another consumer has reserved meanwhile.
 * A job whose lock has expired is still completed, as long as no other consumer has reserved it.
 * KEYS wait, active, marker, meta, delayed, completed, failed. ARGV as for RESERVE, then for how many ms and how many completed
 * jobs are kept, the prefix of this consumer's lock names, then for each job its id, verdict (completed, failed, requeued,
 * delayed, removed) and returned value, failed reason, or delay in ms.
 * Returns what RESERVE returns.
 */
export const COMPLETE = `${RESERVE_FUNCTION}
local wait, active, marker, meta, delayed, completed, failed = unpack(KEYS)
local prefix, now = ARGV[1], tonumber(ARGV[4])
local keepMs, keepCount, consumer = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local requeuedIds, completedEntries, failedEntries = {}, {}, {}
for i = 10, #ARGV, 3 do
  local id, verdict, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local job = prefix .. id
  local fields = redis.call('HMGET', job, 'pb', 'atm')
  -- An evicted job has lost the name of its lock.
  local isOurs = not fields[1] or string.sub(fields[1], 1, #consumer) == consumer
  if isOurs and redis.call('LREM', active, -1, id) == 1 then
    if verdict == 'requeued' then
      table.insert(requeuedIds, 1, id)
    elseif verdict == 'delayed' then
      redis.call('HSET', job, 'delay', value)
      redis.call('ZADD', delayed, (now + value) * 4096, id)
    elseif verdict == 'removed' then
      redis.call('UNLINK', job)
    else
      local entries = verdict == 'failed' and failedEntries or completedEntries
      entries[#entries + 1] = now
      entries[#entries + 1] = id
      redis.call('HSET', job, verdict == 'failed' and 'failedReason' or 'returnvalue', value, 'finishedOn', now,
        'atm', (tonumber(fields[2]) or 0) + 1)
      if verdict == 'failed' then redis.call('HDEL', job, 'defa') end
    end
  end
end
if #requeuedIds > 0 then
  redis.call('RPUSH', wait, unpack(requeuedIds))
  redis.call('ZADD', marker, 0, '0')
end
if #failedEntries > 0 then redis.call('ZADD', failed, unpack(failedEntries)) end
if #completedEntries > 0 then redis.call('ZADD', completed, unpack(completedEntries)) end

local function removeOldest(ids)
  if #ids == 0 then return end
  for i, id in ipairs(ids) do ids[i] = prefix .. id end
  redis.call('UNLINK', unpack(ids))
  redis.call('ZREMRANGEBYRANK', completed, 0, #ids - 1)
end
removeOldest(redis.call('ZRANGEBYSCORE', completed, '-inf', now - keepMs, 'LIMIT', 0, 1000))
local surplus = math.min(redis.call('ZCARD', completed) - keepCount, 1000)
if surplus > 0 then removeOldest(redis.call('ZRANGE', completed, 0, surplus - 1)) end

return reserve(wait, active, marker, meta, delayed, prefix, ARGV[2], ARGV[3], now, tonumber(ARGV[5]), tonumber(ARGV[6]))
`

/**
 * Extends locks. KEYS the locks. ARGV now in ms, their life in ms.
 * A script and not a plain SET, which Redis refuses while its memory is full (prepare-script.ts).
 */
export const EXTEND_LOCKS = `for _, lock in ipairs(KEYS) do redis.call('SET', lock, ARGV[1], 'PX', ARGV[2]) end`

/**
 * Requeues stalled jobs: active ones without a lock, neither one of ours nor one of BullMQ's worker. The first consumer that
 * calls it within the interval does it for all. A job that has stalled too often is requeued with a reason to fail it.
 * KEYS wait, active, marker, stalled-check. ARGV prefix, interval in ms, now in ms, how often a job may stall.
 * Returns the number of jobs requeued.
 */
export const REQUEUE_STALLED = `
local wait, active, marker, check = unpack(KEYS)
local prefix, intervalMs, now, maxStalls = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('SET', check, now, 'PX', intervalMs, 'NX') == false then return 0 end
local lockExists = {}
local function isLocked(id)
  local lock = redis.call('HGET', prefix .. id, 'pb') or ''
  if lockExists[lock] == nil then lockExists[lock] = redis.call('EXISTS', prefix .. 'taken:' .. lock) == 1 end
  return lockExists[lock] or redis.call('EXISTS', prefix .. id .. ':lock') == 1
end
local requeued = 0
for _, id in ipairs(redis.call('LRANGE', active, 0, -1)) do
  if not isLocked(id) and redis.call('LREM', active, 1, id) == 1 then
    local job = prefix .. id
    if redis.call('HINCRBY', job, 'stc', 1) > maxStalls then
      redis.call('HSET', job, 'defa', 'job stalled more than allowable limit')
    end
    redis.call('RPUSH', wait, id)
    requeued = requeued + 1
  end
end
if requeued > 0 then redis.call('ZADD', marker, 0, '0') end
return requeued
`
