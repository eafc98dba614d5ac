import { expect, test } from 'vitest'
import { PROVIDER_NAMES } from '../../src/providers/index.ts'
import { metaUnderTest } from './provider/meta.ts'
import { twilioUnderTest } from './provider/twilio.ts'
import { describeProviderContract } from './provider.contract.ts'

const SUBJECTS = [metaUnderTest, twilioUnderTest]

test('the contract covers every provider', () => {
  expect(SUBJECTS.map(({ name }) => name).sort()).toEqual([...PROVIDER_NAMES].sort())
})

for (const subject of SUBJECTS) describeProviderContract(subject)
