import { expect, test } from 'vitest'
import { refusal } from '../../../src/db/ingest/refusal.ts'

const refused = (fields: object) => Object.assign(new Error('secret'), { code: 'P0001', ...fields })
const raisedIn = (where: string) => refused({ where })

test.each<[what: string, cause: unknown, reason: string]>([
  ['the state alone', refused({}), 'refused by PostgreSQL: SQLSTATE P0001'],
  [
    'the constraint',
    refused({ code: '23514', constraint: 'no_bad_news' }),
    'refused by PostgreSQL: SQLSTATE 23514 (no_bad_news)',
  ],
  [
    'the function',
    raisedIn('PL/pgSQL function users_rule() line 3 at RAISE'),
    'refused by PostgreSQL: SQLSTATE P0001 in function users_rule',
  ],
  [
    'the constraint and the function',
    refused({ code: '23514', constraint: 'no_bad_news', where: 'SQL function "checked" statement 1' }),
    'refused by PostgreSQL: SQLSTATE 23514 (no_bad_news) in function checked',
  ],
  [
    'the innermost function, without the statement that it ran',
    raisedIn(
      `SQL statement "SELECT audit('PL/pgSQL function secret')"\nPL/pgSQL function app.inner(text) line 2 at PERFORM\n` +
        'PL/pgSQL function outer() line 1 at RETURN',
    ),
    'refused by PostgreSQL: SQLSTATE P0001 in function app.inner',
  ],
  [
    'no function of a context that names none',
    raisedIn('COPY secret'),
    'refused by PostgreSQL: SQLSTATE P0001',
  ],
  [
    'no field that is no text',
    refused({ constraint: 7, where: null }),
    'refused by PostgreSQL: SQLSTATE P0001',
  ],
  ['the class of another error', new RangeError('secret'), 'cannot be written: RangeError'],
  ['the type of what is no error', 'secret', 'cannot be written: string'],
  ['nothing', null, 'cannot be written: object'],
])('the reason has %s, and nothing that can quote the event', (_, cause, reason) => {
  expect(refusal(cause)).toBe(reason)
})
