import { describe, expect, test } from 'vitest'
import { classifyWriteFailure, sqlStateOf } from '../../src/db/sql-state.ts'

describe('a failed write', () => {
  test.each([
    ['22P05', 'data'],
    ['23505', 'data'],
    ['54000', 'data'],
    ['40001', 'conflict'],
    ['40P01', 'conflict'],
    ['57P01', 'away'],
    ['42P01', 'away'],
    ['P0001', 'away'],
    ['XX000', 'away'],
    ['ECONNREFUSED', 'away'],
    ['EPIPE', 'away'],
  ])('with %s is a matter of %s', (code, failure) => {
    expect(classifyWriteFailure(Object.assign(new Error('failed'), { code }))).toBe(failure)
  })

  test.each(['EPIPE', 'EBUSY', 'ENOENT', 'E2BIG', undefined])('%s is no SQLSTATE', (code) => {
    expect(sqlStateOf({ code })).toBeUndefined()
  })

  test.each(['57P01', 'F0001', 'HV00N', 'P0001', 'XX001'])('%s is one', (code) => {
    expect(sqlStateOf({ code })).toBe(code)
  })
})
