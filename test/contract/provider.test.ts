import { metaUnderTest } from './provider/meta.ts'
import { twilioUnderTest } from './provider/twilio.ts'
import { describeProviderContract } from './provider.contract.ts'

for (const subject of [metaUnderTest, twilioUnderTest]) describeProviderContract(subject)
