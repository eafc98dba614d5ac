/** BullMQ 6's keys of the queue `inbound` (queue-keys.js). */
import { QUEUE_PREFIX } from '../names.ts'

export function inboundKeys() {
  const prefix = `${QUEUE_PREFIX}:inbound:`
  return {
    prefix,
    wait: `${prefix}wait`,
    active: `${prefix}active`,
    marker: `${prefix}marker`,
    meta: `${prefix}meta`,
    delayed: `${prefix}delayed`,
    stalledCheck: `${prefix}stalled-check`,
    completed: `${prefix}completed`,
    failed: `${prefix}failed`,
  }
}
