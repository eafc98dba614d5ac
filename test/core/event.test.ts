import { expect, test } from 'vitest'
import {
  EVENT_VERSION,
  MAX_PARTICIPANT_BYTES,
  MAX_STATUS_BYTES,
  MAX_WA_MESSAGE_ID_BYTES,
} from '../../src/core/event.ts'

/** Jobs of the release before wait on the queues: a worker leaves those of another version alone. */
test('version 1 is the format of the jobs on the queues of installations', () => {
  expect(EVENT_VERSION).toBe(1)
})

/** What is longer is parked: a lower limit would park what was stored before. */
test.each([
  ['message id', MAX_WA_MESSAGE_ID_BYTES, 512, 250],
  ['status word', MAX_STATUS_BYTES, 128, 19],
  ['participant', MAX_PARTICIPANT_BYTES, 512, 135],
])(
  'a %s may have many more bytes than any that the providers document',
  (_what, limit, bytes, documented) => {
    expect(limit).toBe(bytes)
    expect(limit).toBeGreaterThan(2 * documented)
  },
)
