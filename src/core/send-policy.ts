/**
 * How sends are retried and paused: every number, and its consequence. Providers name the reason of a failure; how long it
 * makes a message wait, and what else has to wait with it, is decided here.
 *
 * Some numbers depend on each other; test/core/send-policy.test.ts says how.
 */
const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** What waits after a failure: this conversation, everything from this number, or everything through this provider. */
export type RetryScope = 'conversation' | 'sender' | 'provider'

/** `backOff`: in place of that of the scope. */
export type RetryRule = { scope: RetryScope; firstDelayMs: number; backOff?: BackOff }

/** Why a message was certainly not sent, and may be sent later. Most reasons are limits of a provider. */
export const RETRY_RULES = {
  /** Too many messages to one recipient. Meta asks for "4^X seconds", X from 0. */
  recipient_rate: { scope: 'conversation', firstDelayMs: SECOND },
  /** The number has sent as many messages as its throughput allows. */
  number_rate: { scope: 'sender', firstDelayMs: SECOND },
  /** The provider moves the number to another throughput, which takes a minute at most. */
  number_upgrade: { scope: 'sender', firstDelayMs: 15 * SECOND },
  /** The provider's queue for the number is full. Twilio's holds what the number can send in four hours. */
  number_queue_full: { scope: 'sender', firstDelayMs: MINUTE },
  /** The provider suspects the number of spam: more tries would not help it. */
  spam_suspicion: { scope: 'sender', firstDelayMs: 15 * MINUTE },
  /** The provider has limited the account for a while, and refuses everything from it until then. */
  account_limit: { scope: 'sender', firstDelayMs: 15 * MINUTE },
  /** Too many calls at the same moment, for the whole account. */
  account_concurrency: { scope: 'provider', firstDelayMs: SECOND },
  /** Too many calls of the app or the account in its period. */
  account_rate: { scope: 'provider', firstDelayMs: MINUTE },
  /** The provider takes nothing while it is maintained, and says so. */
  provider_maintenance: { scope: 'provider', firstDelayMs: MINUTE },
  /** No connection to the provider. Connections fail quickly, and recover quickly. */
  unreachable: { scope: 'provider', firstDelayMs: SECOND },
  /** A proxy or firewall refused the call; the provider never had it. */
  refused_on_the_way: { scope: 'provider', firstDelayMs: MINUTE },
  /** The provider did not confirm that it has a copy of the file. */
  copy_unconfirmed: { scope: 'conversation', firstDelayMs: SECOND },
  /** The uploaded file is not on this worker's disk. Its folder may be a mount that is not there yet. */
  file_missing: { scope: 'conversation', firstDelayMs: 5 * SECOND },
  /** The worker claimed the message and did not call. Another claim may follow at once. */
  not_called: { scope: 'conversation', firstDelayMs: 0 },
} as const satisfies Record<string, RetryRule>

export type RetryReason = keyof typeof RETRY_RULES

/** A sender that may not send at all (token, permission, payment). More tries than one a minute would look like an attack. */
export const STOPPED_SENDER_RULE: RetryRule = { scope: 'sender', firstDelayMs: MINUTE }

/** A message that is refused in the name of its sender while others of that sender pass. */
export const REFUSED_MESSAGE = {
  /** After the pause of its sender: the next sweep begins a trial with another message, where one waits. */
  afterOthersMs: 5 * SECOND,
  /** Its own wait once others have passed. */
  firstDelayMs: MINUTE,
  /** So many refusals while others passed, and it fails: after about six minutes. */
  maxTimes: 3,
} as const

/** How a wait grows from failure to failure: `min(maxDelayMs, first delay * factor ^ failures before)`. */
export type BackOff = { factor: number; maxDelayMs: number }

export const BACK_OFF: Readonly<Record<RetryScope, BackOff>> = {
  /** Meta's factor. From one second an hour is reached at the seventh wait. */
  conversation: { factor: 4, maxDelayMs: HOUR },
  sender: { factor: 2, maxDelayMs: HOUR },
  /** Short, so that messages go out soon after the provider is back. */
  provider: { factor: 2, maxDelayMs: 5 * MINUTE },
}

/**
 * In-doubt results in a row: the provider takes calls and does not answer them. Each such call may cost a person's decision
 * (`unknown`), so messages wait instead, and one at a time tries.
 */
export const IN_DOUBT = {
  /** So many results of one number open its breaker. One or two lost answers are no outage. */
  maxInARow: 3,
  /** So many numbers whose last result is in doubt, without an answer to any number in between, stop the whole provider. */
  maxNumbers: 3,
  /** As long as one call. A trial that is in doubt again costs one message, so the waits grow. */
  firstDelayMs: 15 * SECOND,
  /** Soon after the provider is back messages go out; meanwhile at most twelve an hour become `unknown`. */
  backOff: { factor: 2, maxDelayMs: 5 * MINUTE },
} as const

/**
 * An answer or reaction to a message whose id is not known yet. A status that brings it comes within seconds as a rule; the
 * messages behind the answer do not wait with it.
 */
export const LINKED_MESSAGE = {
  firstDelayMs: 2 * SECOND,
  backOff: { factor: 2, maxDelayMs: MINUTE },
  /** From the creation of the answer. Then it fails. Half of what a message may wait at most, which has no reason to tell. */
  maxWaitMs: 12 * HOUR,
} as const

/** One call that sends a message. */
export const SEND_CALL = {
  /**
   * A call that takes longer ends as `unknown`. Longer than undici tries to connect (10 s), so that a connection that cannot
   * be made is not taken for a lost answer.
   */
  timeoutMs: 15 * SECOND,
  /** A process that was suspended for longer between its claim and the call does not call: the sweep may have acted. */
  maxClaimAgeMs: 5 * SECOND,
} as const

/** From the claim to the end of the longest call. */
export const LONGEST_SEND_MS = SEND_CALL.maxClaimAgeMs + SEND_CALL.timeoutMs

/** Storing the result of a call while the database is away. Nothing but this process knows the result. */
export const RECORD_RESULT = {
  firstDelayMs: 200,
  factor: 2,
  maxDelayMs: 2 * SECOND,
  /** Later the message is left to the sweep, which makes it `unknown`. */
  timeoutMs: 5 * MINUTE,
} as const

/** How long a message may keep a status before the sweep changes it. */
export const STATUS_LIMITS = {
  /** `sending` becomes `unknown`: no worker can still be calling. */
  maxSendingMs: MINUTE,
  /** `queued` becomes `failed`: nobody wants yesterday's answer to arrive without warning. */
  maxQueuedMs: DAY,
} as const

/** When the sweep notifies the workers of a message or receipt that waits. */
export const SWEEP = {
  /** The writer of a row notifies by itself. The sweep does it when the row is older. */
  minAgeMs: 2 * SECOND,
  /** For each number. Twice what Meta lets it send in the second until the next sweep. */
  maxSendsANumber: 160,
  maxReceipts: 100,
} as const

/** Looking for messages of ours whose stored statuses were not applied, from the newest status back. */
export const STATUS_REPAIR = {
  everyMs: HOUR,
  /** How far back the first pass of a process goes, which also finds what an earlier version has left. */
  firstAgeMs: 7 * DAY,
  /** How far each later one goes back behind the beginning of the one before. */
  overlapMs: 10 * MINUTE,
  /** Statuses that a sweep looks at: a few milliseconds of the database's time. */
  statusesASweep: 1_000,
} as const

/** A half-open breaker lets no second message through for so long. Longer than a call may take. */
export const BREAKER_TRIAL_MS = MINUTE

/**
 * How many calls of each kind a worker makes at the same time (worker/bulkheads.ts). A number that hangs keeps its slots until
 * its breaker opens, so it gets half of its provider's at most, and only while the provider answers.
 */
export const SLOTS = {
  sends: {
    /** Before the first answer. If the provider hangs, as many messages of a worker become `unknown`. */
    perSender: { first: 5, most: 50 },
    /** With a quarter of a second for each call, more than Meta takes from one number. */
    perProvider: { first: 20, most: 100 },
  },
  /** A copy takes long: with more of them, each would take longer. */
  copies: { perSender: { first: 5, most: 5 }, perProvider: { first: 10, most: 10 } },
  receipts: { perSender: { first: 5, most: 5 }, perProvider: { first: 10, most: 10 } },
  /** Conversations of one number that wait in a worker. The sweep notifies again of those that find no room. */
  maxWaiting: 1_000,
} as const

export const RATE_LIMIT = {
  /** Share of the rate that may go at once; the rest is refilled. So no second holds more than the rate. */
  burstShare: 0.1,
  /** Conversations of one number that wait in a worker for a token. Fewer would not use a slow database's time, more claim in vain. */
  maxWaiting: 8,
  /** Longest wait without another claim: the rate may have been raised meanwhile. */
  maxWaitMs: SECOND,
  /** Random share added to each wait, so that those that wait do not claim at the same moment. */
  spreadMs: 50,
} as const

/** Copies of uploads at a provider that wants files before the message. */
export const PROVIDER_COPY = {
  /** The largest file at 3 Mbit/s. */
  timeoutMs: 5 * MINUTE,
  /** A worker that has not extended its claim for so long is dead; another one copies. */
  claimMs: 15 * SECOND,
  extendEveryMs: 4 * SECOND,
  /** Meta forgets a file after 30 days; a message may wait for days after its copy. */
  maxAgeDays: 25,
} as const

export const READ_RECEIPT = {
  callTimeoutMs: 10 * SECOND,
  firstDelayMs: 5 * SECOND,
  factor: 2,
  /** Eleven waits, together a little less than three hours. Then the receipt is given up. */
  maxAttempts: 12,
} as const

/** Looking in-doubt sends up in the provider's list of messages. */
export const RECONCILIATION = {
  /** A status that was on its way has arrived by then. The list around the claim holds no message that is still being sent. */
  firstAfterMs: 2 * MINUTE,
  /** The next time is when the send is so many times as old as the last time. */
  ageFactor: 2,
  /** After a day a person has decided. */
  maxAgeMs: DAY,
  /** Difference between the database's clock (at the claim) and the provider's (at the message). */
  clockToleranceMs: 30 * SECOND,
  callTimeoutMs: 10 * SECOND,
  maxSendsARun: 5,
} as const

/** How long the queue `outbound` pauses when the database is away: without rows there is nothing to do. */
export const DATABASE_AWAY_PAUSE_MS = SECOND

/** What a stopping worker keeps of its deadline to store the results of the calls that it cut off. */
export const CUT_OFF_RESERVE_MS = 500
