import { expect, test } from 'vitest'
import { readOptions } from '../../mutate/options.ts'

test('takes files, folders and patterns, each file once', () => {
  const options = readOptions(['src/core/status.ts', 'src/core', 'src/providers/*/signature.ts'])

  const files = options === 'help' ? [] : options.files
  expect(files.filter((file) => file === 'src/core/status.ts')).toHaveLength(1)
  expect(files).toContain('src/core/phone.ts')
  expect(files).toContain('src/providers/twilio/signature.ts')
  expect(options).toMatchObject({ tests: undefined, thresholdPercent: 85 })
})

test('takes several test files, after one option or more', () => {
  const names = ['status', 'phone', 'circuit'].map((name) => `test/core/${name}.test.ts`)

  const options = readOptions(['src/core', '--tests', `${names[0]},${names[1]}`, '--tests', String(names[2])])

  expect(options).toMatchObject({ tests: names })
})

test.each([
  [[], /^which files\?$/],
  [['src/lost.ts'], /^no such file: src\/lost\.ts$/],
  [['test/core/status.test.ts'], /^test\/core\/status\.test\.ts is not a file of src\/$/],
  [['src/core', '--tests', 'test/lost.test.ts'], /^no such test: test\/lost\.test\.ts$/],
  [['src/core', '--threshold', '101'], /^--threshold takes a number from 0 to 100/],
])('%j is a mistake', (args, complaint) => {
  expect(() => readOptions(args)).toThrow(complaint)
})
