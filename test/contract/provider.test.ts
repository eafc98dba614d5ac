import { expect, test } from 'vitest'
import { PROVIDERS } from '../../src/providers/index.ts'
import { metaUnderTest } from './provider/meta.ts'
import { pigeonUnderTest } from './provider/pigeon.ts'
import { twilioUnderTest } from './provider/twilio.ts'
import { describeProviderContract } from './provider.contract.ts'

const SUBJECTS = [metaUnderTest, twilioUnderTest, pigeonUnderTest]

for (const subject of SUBJECTS) describeProviderContract(subject)

test('the contract covers every provider', () => {
  expect(SUBJECTS.map(({ definition }) => definition)).toEqual(expect.arrayContaining([...PROVIDERS]))
})

test('no provider takes the message ids of another one for its own', () => {
  for (const { definition } of SUBJECTS)
    for (const other of SUBJECTS.filter((subject) => subject.definition !== definition))
      for (const id of other.messageIds) expect(id).not.toMatch(new RegExp(definition.messageIds.own))
})
