import { twilioUnderTest } from './provider/twilio.ts'
import { describeProviderContract } from './provider.contract.ts'

for (const subject of [twilioUnderTest]) describeProviderContract(subject)
