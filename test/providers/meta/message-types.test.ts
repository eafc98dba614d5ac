import { describe, expect, test } from 'vitest'
import { TYPES_WITH_BODY } from '../../../src/providers/meta/message-type.ts'
import { META_CUSTOMER_PHONE, metaContact, metaMessage } from '../../support/meta-webhooks.ts'
import { IMAGE, MESSAGE_FIXTURES } from './fixtures.ts'
import { messageFactOf } from './meta-facts.ts'

const ADA = { phone: META_CUSTOMER_PHONE, name: 'Ada Example' }

describe('a message of every type', () => {
  test('has a fixture', () => {
    const types = new Set(MESSAGE_FIXTURES.map(({ message }) => message.type))

    expect(TYPES_WITH_BODY.filter((type) => !types.has(type))).toEqual([])
  })

  test.each(MESSAGE_FIXTURES)('$name has readable content', ({ message, content }) => {
    const fact = messageFactOf(metaMessage(message), [metaContact()])

    expect(fact.content).toBe(content)
    expect(fact.message_type).toBe(message.type ?? 'text')
    expect(fact).toMatchObject({
      direction: 'inbound',
      source: 'webhook',
      is_placeholder: false,
      contact: ADA,
    })
    expect(fact.status).toBeUndefined()
  })

  test('has the time that Meta gives, as a string or as an integer', () => {
    expect(messageFactOf(metaMessage({ timestamp: '1760000000' })).sent_at).toEqual(new Date(1760000000000))
    expect(messageFactOf(metaMessage({ timestamp: 1760000000 })).sent_at).toEqual(new Date(1760000000000))
  })

  test.each(['253402300800000', '8640000000000000', 'soon', -1])(
    "has no time where the provider's is none that PostgreSQL can hold: %s",
    (timestamp) => {
      expect(messageFactOf(metaMessage({ timestamp })).sent_at).toBeUndefined()
    },
  )

  test.each(['soon', '', '-5', '0', null, {}, '99999999999999999999'])(
    'has no time where Meta gives %j',
    (timestamp) => {
      expect(messageFactOf(metaMessage({ timestamp })).sent_at).toBeUndefined()
    },
  )

  test.each([
    [{ type: undefined, text: undefined }, 'unknown'],
    [{ type: 7, image: IMAGE }, 'image'],
    [{ type: 'constructor' }, 'constructor'],
    [{ type: '__proto__' }, '__proto__'],
  ])('is stored with a type where Meta gives %j', (fields, type) => {
    expect(messageFactOf(metaMessage(fields)).message_type).toBe(type)
  })
})

describe('media', () => {
  test('of an image: id, type, digest and link', () => {
    const fact = messageFactOf(metaMessage({ type: 'image', image: IMAGE }))

    expect(fact.media).toEqual([
      { id: IMAGE.id, mime_type: 'image/jpeg', sha256: IMAGE.sha256, url: IMAGE.url },
    ])
  })

  test('of a document: the file name as it is', () => {
    const document = { id: '1', mime_type: 'application/pdf', filename: 'Größe 尺寸.pdf' }

    expect(messageFactOf(metaMessage({ type: 'document', document })).media).toEqual([document])
  })

  test.each([
    { type: 'audio', audio: { id: '1', voice: true } },
    { type: 'voice', voice: { id: '1' } },
    { type: 'voice', audio: { id: '1' } },
  ])('of a voice note, in every spelling: $type', (fields) => {
    expect(messageFactOf(metaMessage(fields)).media).toEqual([{ id: '1', voice: true }])
  })

  test('of an edit: the new picture', () => {
    const edit = { original_message_id: 'wamid.TARGET', message: { type: 'image', image: IMAGE } }

    expect(messageFactOf(metaMessage({ type: 'edit', edit })).media).toMatchObject([{ id: IMAGE.id }])
  })

  test('of a type that does not exist yet', () => {
    const hologram = { id: '1', mime_type: 'model/gltf' }

    expect(messageFactOf(metaMessage({ type: 'hologram', hologram })).media).toEqual([hologram])
  })

  test('is none in a text, and none where the object is missing', () => {
    expect(messageFactOf(metaMessage()).media).toEqual([])
    expect(messageFactOf(metaMessage({ type: 'image' })).media).toEqual([])
  })

  test('that Meta could not fetch comes with its error, under its own type', () => {
    const errors = [{ code: 131052, title: 'Media download error' }]
    const fact = messageFactOf(metaMessage({ type: 'image', image: { mime_type: 'image/jpeg' }, errors }))

    expect(fact.message_type).toBe('image')
    expect(JSON.parse(fact.error ?? '')).toEqual(errors)
  })
})

describe('what a message refers to', () => {
  test('is the message that it answers', () => {
    const context = { from: '15550009999', id: 'wamid.ANSWERED' }

    expect(messageFactOf(metaMessage({ context })).reply_to_wa_message_id).toBe('wamid.ANSWERED')
  })

  test.each([undefined, { id: 'M0' }, { id: '' }, { id: 5 }, { id: 'x'.repeat(513) }, 'wamid.X', null])(
    'is nothing where the context is %j',
    (context) => {
      expect(messageFactOf(metaMessage({ context })).reply_to_wa_message_id).toBeUndefined()
    },
  )

  test('of an edit is what the edited message answers', () => {
    const edited = { type: 'text', text: { body: 'x' }, context: { id: 'wamid.ANSWERED' } }
    const edit = { original_message_id: 'wamid.TARGET', message: edited }

    expect(messageFactOf(metaMessage({ type: 'edit', edit }))).toMatchObject({
      reply_to_wa_message_id: 'wamid.ANSWERED',
      target_wa_message_id: 'wamid.TARGET',
    })
  })

  test.each([
    { type: 'reaction', reaction: { message_id: 'wamid.TARGET', emoji: '👍' } },
    { type: 'reaction', reaction: { message_id: 'wamid.TARGET' } },
    { type: 'edit', edit: { original_message_id: 'wamid.TARGET' } },
    { type: 'revoke', revoke: { original_message_id: 'wamid.TARGET' } },
    { type: 'unsupported', unsupported: { type: 'edit', original_message_id: 'wamid.TARGET' } },
    { type: 'unsupported', unsupported: { type: 'edit' }, edit: { original_message_id: 'wamid.TARGET' } },
  ])('is the target of a $type', (fields) => {
    expect(messageFactOf(metaMessage(fields)).target_wa_message_id).toBe('wamid.TARGET')
  })

  test('is no target in an ordinary message that happens to carry one', () => {
    const fields = { type: 'text', text: { body: 'x' }, revoke: { original_message_id: 'wamid.TARGET' } }

    expect(messageFactOf(metaMessage(fields)).target_wa_message_id).toBeUndefined()
  })

  test.each([
    [{ forwarded: true }, true, false],
    [{ frequently_forwarded: true }, true, true],
    [{ forwarded: true, frequently_forwarded: true }, true, true],
    [{ forwarded: 'true' }, false, false],
    [undefined, false, false],
  ])('says that it was forwarded: %j', (context, forwarded, frequently_forwarded) => {
    expect(messageFactOf(metaMessage({ context }))).toMatchObject({ forwarded, frequently_forwarded })
  })

  test('is the ad that the person came from, on a message of any type', () => {
    const referral = {
      source_url: 'https://ads.example.test/1',
      source_id: '120200000000000001',
      source_type: 'ad',
      headline: 'Fresh bread',
      media_type: 'image',
      ctwa_clid: 'clid-1',
      welcome_message: { text: 'Hi!' },
    }

    for (const fields of [{}, { type: 'contacts', contacts: [] }])
      expect(JSON.parse(messageFactOf(metaMessage({ ...fields, referral })).referral ?? '')).toEqual(referral)
  })
})
