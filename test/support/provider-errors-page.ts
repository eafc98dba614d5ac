/** Renders docs/provider-errors.md from the tables of the providers, so that they cannot differ. */
import { BACK_OFF, RETRY_RULES, type RetryRule, STOPPED_SENDER_RULE } from '../../src/core/send-policy.ts'
import { META_SEND_ERRORS } from '../../src/providers/meta/send-error-codes.ts'
import { readMetaError } from '../../src/providers/meta/send-errors.ts'
import { type Consequence, listRules, type SendErrorTable } from '../../src/providers/send-errors.ts'
import { TWILIO_SEND_ERRORS } from '../../src/providers/twilio/send-error-codes.ts'
import { readTwilioError } from '../../src/providers/twilio/send-errors.ts'

export function renderProviderErrorsPage(): string {
  return `# What the providers' errors mean

What follows when a provider refuses a message, or does not say what became of it. The code of the provider decides. The HTTP
status decides where there is no code, or one that is not listed here. Files that are copied to Meta follow the same
tables; there \`unknown\` is tried again, because a copy sends nothing. [Sending](sending.md) explains the words.

## Meta

Meta's own lists: [Cloud API](https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes),
[Graph API](https://developers.facebook.com/docs/graph-api/guides/error-handling).

${renderTable(META_SEND_ERRORS)}

## Twilio

Twilio has a page for each code: [error dictionary](https://www.twilio.com/docs/api/errors).

${renderTable(TWILIO_SEND_ERRORS)}

## Answers without a code that is listed

${renderStatuses()}

Meta marks some errors as transient. If such an error has no listed code the message becomes \`unknown\`, except with HTTP 429.

This page is written from \`src/providers/meta/send-error-codes.ts\`, \`src/providers/twilio/send-error-codes.ts\` and
\`src/core/send-policy.ts\`: \`npx vitest run test/providers/provider-errors-page.test.ts -u\` writes it again.
`
}

function renderTable(table: SendErrorTable): string {
  const rows = listRules(table).toSorted((a, b) => a.first - b.first || a.codes.length - b.codes.length)
  return toTable(
    ['Code', 'Meaning', 'What follows'],
    rows.map(({ codes, meaning, consequence }) => [nameOf(codes), meaning, describe(consequence)]),
  )
}

function nameOf(codes: string): string {
  return codes.replace('-', '–').replace('/', ', subcode ')
}

const SAMPLE_STATUSES = [[400, 404], [401, 403, 407], [408], [413], [429], [500, 502, 503]] as const

/** Of each row one status is asked; test/providers tries them all. */
function renderStatuses(): string {
  const unlisted = 99_999
  return toTable(
    [
      'HTTP status',
      'Meta, a code that is not listed',
      'Twilio, a code that is not listed',
      'no code: Meta',
      'no code: Twilio',
    ],
    SAMPLE_STATUSES.map(([status, ...others]) => [
      status >= 500
        ? 'any other, as 500, 502, 301'
        : `${[status, ...others].join(', ')}${status === 400 ? ' and other 4xx' : ''}`,
      outcomeOf(readMetaError(status, { error: { code: unlisted } })),
      outcomeOf(readTwilioError(status, { code: unlisted })),
      outcomeOf(readMetaError(status, undefined)),
      outcomeOf(readTwilioError(status, undefined)),
    ]),
  )
}

function outcomeOf(result: ReturnType<typeof readMetaError>): string {
  if (result.kind === 'accepted') throw new Error('an error is never accepted')
  return describe(result.kind === 'not_sent' ? result.reason : result.kind)
}

function describe(consequence: Consequence): string {
  switch (consequence) {
    case 'failed':
    case 'unknown':
      return `\`${consequence}\``
    case 'by_status':
      return 'as the HTTP status says'
    case 'stop_sender':
      return describeWait(STOPPED_SENDER_RULE)
    default:
      return describeWait(RETRY_RULES[consequence])
  }
}

const WHO_WAITS = { conversation: 'the conversation', sender: 'the number', provider: 'the provider' }

function describeWait({ scope, firstDelayMs, backOff = BACK_OFF[scope] }: RetryRule): string {
  const { factor, maxDelayMs } = backOff
  const growth = factor === 2 ? 'doubling' : `then ${factor} times as long each time,`
  return `\`queued\`; ${WHO_WAITS[scope]} waits ${duration(firstDelayMs)}, ${growth} up to ${duration(maxDelayMs)}`
}

function duration(ms: number): string {
  const [size, unit] = [
    [3_600_000, 'h'],
    [60_000, 'min'],
    [1_000, 's'],
  ].find(([size]) => ms >= Number(size)) ?? [1, 'ms']
  return `${ms / Number(size)} ${unit}`
}

function toTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
