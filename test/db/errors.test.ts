import { describe, expect, test } from 'vitest'
import { classifyWriteFailure, isUnavailable, sqlStateOf } from '../../src/db/errors.ts'
import { SilentServerError } from '../../src/db/silent-server.ts'

const failed = (code: string) => Object.assign(new Error('failed'), { code })

describe('an error of PostgreSQL', () => {
  test.each([
    // code, after a failed write, whether the database counts as unavailable
    ['08006', 'wait', true], // connection_failure
    ['08P01', 'wait', true], // protocol_violation
    ['22P05', 'data', false], // untranslatable_character
    ['23505', 'data', false], // unique_violation
    ['25006', 'wait', true], // read_only_sql_transaction
    ['25P02', 'refused', false], // in_failed_sql_transaction
    ['28P01', 'refused', false], // invalid_password
    ['3D000', 'refused', false], // invalid_catalog_name
    ['40001', 'conflict', false], // serialization_failure
    ['40P01', 'conflict', false], // deadlock_detected
    ['42501', 'refused', false], // insufficient_privilege
    ['42P01', 'refused', false], // undefined_table
    ['53100', 'wait', true], // disk_full
    ['53300', 'wait', true], // too_many_connections
    ['54000', 'data', false], // program_limit_exceeded
    ['55P03', 'wait', true], // lock_not_available
    ['55006', 'refused', false], // object_in_use
    ['57014', 'timeout', true], // query_canceled
    ['57P01', 'wait', true], // admin_shutdown
    ['57P03', 'wait', true], // cannot_connect_now
    ['58030', 'refused', false], // io_error
    ['P0001', 'refused', false], // raise_exception
    ['XX000', 'refused', false], // internal_error
    ['ECONNREFUSED', 'wait', true],
    ['ECONNRESET', 'wait', true],
    ['ETIMEDOUT', 'wait', true],
    ['EHOSTUNREACH', 'wait', true],
    ['ENETUNREACH', 'wait', true],
    ['ENOTFOUND', 'wait', true],
    ['EAI_AGAIN', 'wait', true],
    ['EPIPE', 'wait', true],
    ['ENOENT', 'wait', false],
  ])('%s: after a failed write %s, unavailable %s', (code, failure, unavailable) => {
    expect(classifyWriteFailure(failed(code))).toBe(failure)
    expect(isUnavailable(failed(code))).toBe(unavailable)
  })

  test.each([
    'timeout exceeded when trying to connect',
    'timeout expired',
    'Connection terminated unexpectedly',
    'Connection terminated due to connection timeout',
    'Query read timeout',
    'Client has encountered a connection error and is not queryable',
  ])('of the driver, without a code, means that the database is unavailable: %s', (message) => {
    expect(isUnavailable(new Error(message))).toBe(true)
  })

  test.each([new Error('contact 7 does not exist'), new TypeError('x is undefined'), undefined, 'text', {}])(
    'is none of our own: %s',
    (err) => {
      expect(isUnavailable(err)).toBe(false)
      expect(classifyWriteFailure(err)).toBe('refused')
    },
  )

  test.each([new Error('Query read timeout'), new SilentServerError('nothing for 5000 ms')])(
    'is a time-out, for which a smaller batch is tried: %s',
    (err) => {
      expect(classifyWriteFailure(err)).toBe('timeout')
      expect(isUnavailable(err)).toBe(true)
    },
  )

  test.each(['timeout exceeded when trying to connect', 'Connection terminated due to connection timeout'])(
    'of connecting is no time-out of a batch: %s',
    (message) => {
      expect(classifyWriteFailure(new Error(message))).toBe('wait')
    },
  )

  test('is not the cause of a RangeError: the data of the event is', () => {
    expect(classifyWriteFailure(new RangeError('Maximum call stack size exceeded'))).toBe('data')
  })
})

describe('a SQLSTATE', () => {
  test.each(['57P01', 'F0001', 'HV00N', 'P0001', 'XX001'])('is %s', (code) => {
    expect(sqlStateOf({ code })).toBe(code)
  })

  test.each(['EPIPE', 'EBUSY', 'ENOENT', 'E2BIG', undefined])('is not %s', (code) => {
    expect(sqlStateOf({ code })).toBeUndefined()
  })
})
