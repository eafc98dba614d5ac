import { describe, expect, test } from 'vitest'
import { maskText, maskWaMessageId } from '../../src/logger/mask.ts'

const WAMID = 'wamid.HBgLMTU1NTAwMDEyMzQVAgASGBQzQUVEMDAwMDAwMDAwMDAwMDAwMAA='

describe('the text of an error', () => {
  test.each([
    ['invalid input syntax for type integer: "My pin"', 'invalid input syntax for type integer: "…"'],
    ['value "4915112345678" is out of range for type integer', 'value "…" is out of range for type integer'],
    [
      'invalid input syntax for type integer: "say "hi" now"\n    at Parser.parse (parser.js:1:2)',
      'invalid input syntax for type integer: "…"\n    at Parser.parse (parser.js:1:2)',
    ],
    [`Unexpected token 'M', "My pin is 4"... is not valid JSON`, 'text is not valid JSON'],
    [
      `SyntaxError: Unexpected token 'h', "{"a": hi"... is not valid JSON`,
      'SyntaxError: text is not valid JSON',
    ],
    ['"webhook_events" has "Ada" in "chat_messages"', '"webhook_events" has "…" in "chat_messages"'],
    ['an open quote: "My pin is', 'an open quote: "…"'],
    ['no contact 15550001234', 'no contact …'],
    ['the recipient whatsapp:+15550001234 is unknown', 'the recipient whatsapp:+… is unknown'],
  ])('the personal data in %s is masked', (text, masked) => {
    expect(maskText(text)).toBe(masked)
  })

  test.each([
    'duplicate key value violates unique constraint "idx_chat_messages_wa_message_id_unique"',
    'duplicate key in relation "chat_messages"',
    'relation "uploads" does not exist',
    'database "wa" does not exist',
    'password authentication failed for user "wa"',
    'connect ECONNREFUSED 10.0.0.1:5432',
  ])('%s keeps the names of database objects', (text) => {
    expect(maskText(text)).toBe(text)
  })

  test('is cut, and a quote that is cut in its middle is masked to the end', () => {
    expect(maskText('no such value "My pin is 4321"', 20)).toBe('no such value "…"')
  })

  test('shows a message id without the phone number in it', () => {
    expect(maskText('wamid.HBgLMTU1NTAwMDEyMzQ= was refused')).toMatch(/^wamid~[0-9a-f]{12} was refused$/)
  })
})

describe('a masked wa_message_id', () => {
  test('is the same for one message and differs between messages', () => {
    expect(maskWaMessageId(WAMID)).toBe(maskWaMessageId(WAMID))
    expect(maskWaMessageId(WAMID)).toMatch(/^wamid~[0-9a-f]{12}$/)
    expect(maskWaMessageId(`${WAMID}=`)).not.toBe(maskWaMessageId(WAMID))
  })

  test("leaves Twilio's SIDs, which hold no personal data", () => {
    expect(maskWaMessageId(`SM${'0a'.repeat(16)}`)).toBe(`SM${'0a'.repeat(16)}`)
  })
})
