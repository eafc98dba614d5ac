import { expect, test } from 'vitest'
import { describeSettingFinding } from '../../src/core/setting-finding.ts'

const finding = { setting: 'redis appendfsync', expected: 'always', advice: 'set it' }

test('a finding is one sentence with what is, what should be and what to do', () => {
  expect(describeSettingFinding({ ...finding, actual: 'everysec', severity: 'unsafe' })).toBe(
    'redis appendfsync is everysec, expected always: set it',
  )
  expect(describeSettingFinding({ ...finding, actual: 'unknown', severity: 'unchecked' })).toBe(
    'redis appendfsync cannot be checked, expected always: set it',
  )
})
