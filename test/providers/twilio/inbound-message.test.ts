import { describe, expect, test } from 'vitest'
import {
  TWILIO_ACCOUNT_SID,
  type TwilioForm,
  twilioMessage,
  twilioSid,
} from '../../support/twilio-webhooks.ts'
import { message } from './twilio-facts.ts'

const MEDIA = `https://api.twilio.com/2010-04-01/Accounts/${TWILIO_ACCOUNT_SID}/Messages`

describe('inbound', () => {
  test('text: everything that the form says', () => {
    expect(message(twilioMessage())).toEqual({
      kind: 'message',
      provider: 'twilio',
      account: TWILIO_ACCOUNT_SID,
      business_number: '15550001234',
      direction: 'inbound',
      source: 'webhook',
      is_placeholder: false,
      wa_message_id: twilioSid(1),
      contact: { phone: '15551230001', name: 'Ada Example' },
      message_type: 'text',
      content: 'Is the blue one still there?',
      forwarded: false,
      frequently_forwarded: false,
      media: [],
    })
  })

  test('text is kept as written, untrimmed', () => {
    expect(message(twilioMessage({ Body: ' caf\u00e9 \u{1F600}\n' })).content).toBe(' caf\u00e9 \u{1F600}\n')
  })

  test('image with caption', () => {
    const url = `${MEDIA}/${twilioSid(4, 'MM')}/Media/${twilioSid(5, 'ME')}`
    const form = media({ MessageType: 'image', Body: 'the leak' }, [url, 'image/jpeg'])

    expect(message(form)).toMatchObject({
      message_type: 'image',
      content: 'the leak',
      media: [{ id: twilioSid(5, 'ME'), url, mime_type: 'image/jpeg' }],
    })
  })

  test('ten attachments, in their order and not in the order of the form', () => {
    const attachments = Array.from(
      { length: 10 },
      (_, index) => [`https://x.example/${index}`, 'image/png'] as const,
    )
    const form = Object.fromEntries(Object.entries(media({}, ...attachments)).reverse())

    expect(message(form).media).toEqual(attachments.map(([url, mime_type]) => ({ url, mime_type })))
  })

  test.each([
    ['image/jpeg', 'image'],
    ['image/webp', 'sticker'],
    ['audio/ogg', 'audio'],
    ['video/mp4', 'video'],
    ['application/pdf', 'document'],
    ['text/vcard', 'contacts'],
    ['text/x-vcard', 'contacts'],
    ['', 'document'],
  ])('media of type %j without MessageType is of type %s', (mimeType, type) => {
    const form = media({ MessageType: undefined, Body: undefined }, ['https://x.example/1', mimeType])

    expect(message(form)).toMatchObject({ message_type: type })
    expect(message(form)).not.toHaveProperty('content')
  })

  test('a document has the name that Twilio puts into the text', () => {
    const form = media({ MessageType: 'document', Body: 'Angebot 7.pdf' }, [
      'https://x.example/1',
      'application/pdf',
    ])
    expect(message(form).media[0]).toMatchObject({ filename: 'Angebot 7.pdf' })

    const captioned = media({ Body: 'See page 2.' }, ['https://x.example/1', 'application/pdf'])
    expect(message(captioned).media[0]).not.toHaveProperty('filename')
    const named = media({ MediaFilename0: 'a.pdf', Body: 'b.pdf' }, [
      'https://x.example/1',
      'application/pdf',
    ])
    expect(message(named).media[0]).toMatchObject({ filename: 'a.pdf' })
  })

  test('a text like a file name is that of a document only, and of the first', () => {
    const image = media({ Body: 'beach.jpg' }, ['https://x.example/1', 'image/jpeg'])
    expect(message(image).media[0]).not.toHaveProperty('filename')

    const two = media({ Body: 'a.pdf' }, ['https://x.example/1', ''], ['https://x.example/2', ''])
    expect(message(two).media.map(({ filename }) => filename)).toEqual(['a.pdf', undefined])
  })

  test.each([
    [{ Label: 'Caf\u00e9 Central', Address: '1 Example Street' }, 'Caf\u00e9 Central, 1 Example Street'],
    [{ Label: 'Caf\u00e9', Address: 'Caf\u00e9, 1 Example Street' }, 'Caf\u00e9, 1 Example Street'],
    [{ Label: 'Caf\u00e9 Central' }, 'Caf\u00e9 Central'],
    [{ Address: '1 Example Street' }, '1 Example Street'],
    [{}, '52.30389,4.75002'],
  ])('location %j', (place, content) => {
    const point = { Body: '', Latitude: '52.30389', Longitude: '4.75002' }

    expect(message(twilioMessage({ MessageType: 'location', ...point, ...place })).content).toBe(content)
    expect(message(twilioMessage({ MessageType: undefined, ...point, ...place }))).toMatchObject({
      message_type: 'location',
      content,
    })
  })

  test('quick reply button', () => {
    const form = twilioMessage({
      MessageType: 'button',
      Body: 'Confirm',
      ButtonText: 'Confirm',
      ButtonPayload: 'confirm-7',
      ButtonType: 'REPLY',
      OriginalRepliedMessageSid: twilioSid(6),
      OriginalRepliedMessageSender: 'whatsapp:+15550001234',
    })

    expect(message(form)).toMatchObject({
      message_type: 'button',
      content: 'Confirm',
      reply_to_wa_message_id: twilioSid(6),
    })
    expect(message({ ...form, MessageType: undefined, Body: '' })).toMatchObject({
      message_type: 'button',
      content: 'Confirm',
    })
    const payloadOnly = { ...form, MessageType: undefined, Body: '', ButtonText: undefined }
    expect(message(payloadOnly)).toMatchObject({ message_type: 'button', content: 'confirm-7' })
  })

  test('list choice', () => {
    const form = twilioMessage({
      MessageType: undefined,
      Body: '',
      ListId: 'slot-2',
      ListTitle: 'Tuesday 10:00',
    })

    expect(message(form)).toMatchObject({ message_type: 'interactive', content: 'Tuesday 10:00' })
  })

  test.each([
    [
      '{"flow_token":"x","size":"M","extras":["milk","ice"],"n":2,"note":""}',
      'size: M, extras: milk, extras: ice, n: 2',
    ],
    [
      '{"nfm_reply":{"name":"flow","response_json":"{\\"size\\":\\"M\\",\\"flow_token\\":\\"x\\"}"}}',
      'size: M',
    ],
    ['{"type":"list_reply","list_reply":{"id":"7","title":"Tuesday"}}', 'Tuesday'],
    ['["a","b"]', 'a, b'],
    ['{broken', '{broken'],
    ['just text', 'just text'],
  ])('flow answer %s', (data, content) => {
    const form = twilioMessage({ MessageType: 'interactive', Body: '', InteractiveData: data })

    expect(message(form).content).toBe(content)
    const flow = twilioMessage({ MessageType: undefined, Body: '', FlowData: data })
    expect(message(flow)).toMatchObject({ message_type: 'interactive', content })
  })

  test('a flow answer without end is a message all the same, cut to what people read', () => {
    const deep = `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`
    expect(message(twilioMessage({ Body: '', FlowData: deep }))).not.toHaveProperty('content')

    const wide = JSON.stringify(Array.from({ length: 1_000 }, (_, index) => `answer ${index}`))
    expect(message(twilioMessage({ Body: '', FlowData: wide })).content?.split(', ')).toHaveLength(50)
  })

  test('a flow answer that says nothing has no content', () => {
    const form = twilioMessage({ MessageType: 'interactive', Body: '', FlowData: '{"flow_token":"x"}' })

    expect(message(form)).not.toHaveProperty('content')
  })

  test('a type that does not exist yet is kept as it is', () => {
    expect(message(twilioMessage({ MessageType: 'Hologram' })).message_type).toBe('hologram')
  })

  test('reply', () => {
    expect(message(twilioMessage({ OriginalRepliedMessageSid: twilioSid(8) })).reply_to_wa_message_id).toBe(
      twilioSid(8),
    )
  })

  test.each([
    [{ Forwarded: 'true' }, true, false],
    [{ Forwarded: 'false', FrequentlyForwarded: 'false' }, false, false],
    [{ FrequentlyForwarded: 'true' }, true, true],
  ])('forwarded %j', (fields, forwarded, frequently_forwarded) => {
    expect(message(twilioMessage(fields))).toMatchObject({ forwarded, frequently_forwarded })
  })

  test('click to WhatsApp: the ad, with the keys that Meta uses', () => {
    const form = twilioMessage({
      ReferralBody: 'Two for one',
      ReferralHeadline: 'Summer',
      ReferralSourceId: '120000000000000000001',
      ReferralSourceType: 'ad',
      ReferralSourceUrl: 'https://fb.example/ad',
      ReferralCtwaClid: 'clid-1',
      ReferralMediaContentType: 'image/jpeg',
      ReferralNumMedia: '1',
    })

    expect(JSON.parse(message(form).referral ?? '')).toEqual({
      num_media: '1',
      body: 'Two for one',
      headline: 'Summer',
      source_id: '120000000000000000001',
      source_type: 'ad',
      source_url: 'https://fb.example/ad',
      ctwa_clid: 'clid-1',
      media_content_type: 'image/jpeg',
    })
  })

  test('ReferralNumMedia alone is no referral', () => {
    expect(message(twilioMessage({ ReferralNumMedia: '0', ReferralBody: '' }))).not.toHaveProperty('referral')
  })

  test('an error on the message is kept, the error of a first call to another URL is not', () => {
    const failed = twilioMessage({ ErrorCode: '63019', ErrorMessage: 'Media failed to download' })
    expect(JSON.parse(message(failed).error ?? '')).toEqual([
      { code: 63019, message: 'Media failed to download' },
    ])

    const fallback = twilioMessage({ ErrorCode: '11200', ErrorUrl: 'https://hooks.example.com/' })
    expect(message(fallback)).not.toHaveProperty('error')
  })
})

function media(fields: TwilioForm, ...attachments: (readonly [url: string, mimeType: string])[]): TwilioForm {
  const numbered = attachments.flatMap(([url, mimeType], index) => [
    [`MediaContentType${index}`, mimeType],
    [`MediaUrl${index}`, url],
  ])
  return twilioMessage({ ...Object.fromEntries(numbered), NumMedia: String(attachments.length), ...fields })
}
