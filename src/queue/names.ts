export const QUEUE_NAMES = ['inbound', 'outbound'] as const
export type QueueName = (typeof QUEUE_NAMES)[number]

/** Prefix of the queues' keys. Its braces keep all keys of the project on one node of a Redis Cluster. */
export const QUEUE_PREFIX = '{wa}'

/** Schema of BullMQ's PostgreSQL backend. */
export const QUEUE_SCHEMA = 'bullmq'
