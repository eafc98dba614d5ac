/**
 * One message of every type that Meta documents (and some that it does not), each with what a person reads of it.
 * Shared by the tests of the columns and by the property tests, which break them in every place.
 */
export type MessageFixture = {
  name: string
  /** What makes the message that type; `metaMessage` adds the rest. */
  message: Record<string, unknown>
  content: string | undefined
}

export const IMAGE = {
  id: '2754859441498128',
  mime_type: 'image/jpeg',
  sha256: 'N2QyZjM2ZDE=',
  url: 'https://lookaside.example.test/attachments/?mid=2754859441498128',
}

export const MESSAGE_FIXTURES: readonly MessageFixture[] = [
  { name: 'text', message: { type: 'text', text: { body: 'Good morning' } }, content: 'Good morning' },
  {
    name: 'image with caption',
    message: { type: 'image', image: { ...IMAGE, caption: 'Our garden' } },
    content: 'Our garden',
  },
  { name: 'image without caption', message: { type: 'image', image: IMAGE }, content: undefined },
  {
    name: 'video',
    message: { type: 'video', video: { ...IMAGE, mime_type: 'video/mp4', caption: 'Walking' } },
    content: 'Walking',
  },
  {
    name: 'audio',
    message: { type: 'audio', audio: { ...IMAGE, mime_type: 'audio/mpeg', voice: false } },
    content: undefined,
  },
  {
    name: 'voice note',
    message: { type: 'audio', audio: { ...IMAGE, mime_type: 'audio/ogg; codecs=opus', voice: true } },
    content: undefined,
  },
  {
    name: 'voicemail, after a call that nobody took',
    message: { type: 'audio', audio: { id: IMAGE.id, mime_type: 'audio/ogg; codecs=opus', url: IMAGE.url } },
    content: undefined,
  },
  {
    name: 'voice note of old',
    message: { type: 'voice', voice: { ...IMAGE, mime_type: 'audio/ogg; codecs=opus' } },
    content: undefined,
  },
  {
    name: 'document',
    message: {
      type: 'document',
      document: { ...IMAGE, mime_type: 'application/pdf', filename: 'Größe 尺寸.pdf', caption: 'Measures' },
    },
    content: 'Measures',
  },
  {
    name: 'sticker',
    message: { type: 'sticker', sticker: { ...IMAGE, mime_type: 'image/webp', animated: true } },
    content: undefined,
  },
  {
    name: 'location with name and address',
    message: {
      type: 'location',
      location: { latitude: 40.1, longitude: -3.5, name: 'Bakery', address: '1 Mill Lane' },
    },
    content: 'Bakery, 1 Mill Lane',
  },
  {
    name: 'location whose address begins with its name',
    message: {
      type: 'location',
      location: { latitude: 1, longitude: 2, name: 'Pier', address: 'Pier, Port' },
    },
    content: 'Pier, Port',
  },
  {
    name: 'location of coordinates only',
    message: { type: 'location', location: { latitude: 40.1, longitude: '-3.5' } },
    content: '40.1,-3.5',
  },
  {
    name: 'contacts',
    message: {
      type: 'contacts',
      contacts: [
        { name: { formatted_name: 'Ben Sample', first_name: 'Ben' }, phones: [{ phone: '+1 555 000 2222' }] },
        { name: { first_name: 'Cleo', last_name: 'Test' } },
        { phones: [{ phone: '+1 555 000 3333', wa_id: '15550003333' }], origin: 'contact_request' },
        { org: { company: 'Example Ltd' } },
      ],
    },
    content: 'Ben Sample, Cleo Test, +1 555 000 3333, Example Ltd',
  },
  {
    name: 'one contact, known by its card only',
    message: {
      type: 'contacts',
      contacts: { vcard: 'BEGIN:VCARD\r\nVERSION:3.0\r\nFN;CHARSET=UTF-8:Dora Sample\r\nEND:VCARD' },
    },
    content: 'Dora Sample',
  },
  {
    name: 'button reply',
    message: {
      type: 'interactive',
      interactive: { type: 'button_reply', button_reply: { id: 'yes-1', title: 'Yes, please' } },
    },
    content: 'Yes, please',
  },
  {
    name: 'list reply',
    message: {
      type: 'interactive',
      interactive: {
        type: 'list_reply',
        list_reply: { id: 'row-2', title: 'Tuesday', description: '9 to 12' },
      },
    },
    content: 'Tuesday',
  },
  {
    name: 'flow answer',
    message: {
      type: 'interactive',
      interactive: {
        type: 'nfm_reply',
        nfm_reply: {
          name: 'flow',
          body: 'Sent',
          response_json:
            '{"flow_token":"t-1","name":"Ada","guests":4,"tax_id":12345678901234567890,"days":["Mo","We"]}',
        },
      },
    },
    content: 'name: Ada, guests: 4, tax_id: 12345678901234567890, days: ["Mo","We"]',
  },
  {
    name: 'flow answer that is a list',
    message: {
      type: 'interactive',
      interactive: {
        type: 'nfm_reply',
        nfm_reply: { name: 'flow', body: 'Sent', response_json: '["a","b"]' },
      },
    },
    content: '["a","b"]',
  },
  {
    name: 'flow answer that is no JSON',
    message: {
      type: 'interactive',
      interactive: { type: 'nfm_reply', nfm_reply: { name: 'flow', body: 'Sent', response_json: '{oh' } },
    },
    content: '{oh',
  },
  {
    name: 'flow answer without answers',
    message: {
      type: 'interactive',
      interactive: { type: 'nfm_reply', nfm_reply: { body: 'Sent', response_json: '{"flow_token":"t-1"}' } },
    },
    content: 'Sent',
  },
  {
    name: 'address',
    message: {
      type: 'interactive',
      interactive: {
        type: 'nfm_reply',
        nfm_reply: { name: 'address_message', body: 'Ada, 1 Mill Lane', response_json: '{"values":{}}' },
      },
    },
    content: 'Ada, 1 Mill Lane',
  },
  {
    name: 'call permission',
    message: {
      type: 'interactive',
      interactive: {
        type: 'call_permission_reply',
        call_permission_reply: { response: 'accept', expiration_timestamp: 1760600000, is_permanent: false },
      },
    },
    content: 'accept',
  },
  {
    name: 'payment method',
    message: {
      type: 'interactive',
      interactive: { type: 'payment_method', payment_method: { payment_method: 'pix', reference_id: 'r-1' } },
    },
    content: 'pix',
  },
  {
    name: 'product',
    message: {
      type: 'interactive',
      interactive: { type: 'product', action: { catalog_id: '800', product_retailer_id: 'SKU-1' } },
    },
    content: 'SKU-1',
  },
  {
    name: 'request for contact information',
    message: {
      type: 'interactive',
      interactive: {
        type: 'request_contact_info',
        body: { text: 'Which number may we call?' },
        action: { name: 'request_contact_info' },
      },
    },
    content: 'Which number may we call?',
  },
  {
    name: 'contact information, shared on request',
    message: {
      type: 'contacts',
      contacts: [{ phones: [{ phone: '+1 555 000 4444', wa_id: '15550004444' }], origin: 'contact_request' }],
      context: { id: 'wamid.REQUEST' },
    },
    content: '+1 555 000 4444',
  },
  { name: 'interactive without its object', message: { type: 'interactive' }, content: undefined },
  {
    name: 'button of a template',
    message: { type: 'button', button: { payload: 'stop-1', text: 'Stop' } },
    content: 'Stop',
  },
  {
    name: 'reaction',
    message: { type: 'reaction', reaction: { message_id: 'wamid.TARGET', emoji: '👍🏽' } },
    content: '👍🏽',
  },
  {
    name: 'reaction taken back',
    message: { type: 'reaction', reaction: { message_id: 'wamid.TARGET', emoji: '' } },
    content: undefined,
  },
  {
    name: 'reaction taken back, without the key',
    message: { type: 'reaction', reaction: { message_id: 'wamid.TARGET' } },
    content: undefined,
  },
  {
    name: 'order',
    message: {
      type: 'order',
      order: {
        catalog_id: '800',
        text: 'By Friday, please',
        product_items: [
          { product_retailer_id: 'SKU-1', quantity: 2, item_price: 7.5, currency: 'USD' },
          { product_retailer_id: 'SKU-2', quantity: '1', item_price: '3', currency: 'USD' },
        ],
      },
    },
    content: 'By Friday, please\n2 × SKU-1, 1 × SKU-2',
  },
  {
    name: 'system',
    message: {
      type: 'system',
      system: { type: 'customer_identity_changed', body: 'The identity of Ada changed', identity: 'hash' },
    },
    content: 'The identity of Ada changed',
  },
  { name: 'request_welcome', message: { type: 'request_welcome' }, content: undefined },
  {
    name: 'edit of a text',
    message: {
      type: 'edit',
      edit: {
        original_message_id: 'wamid.TARGET',
        message: { type: 'text', text: { body: 'Good evening' }, context: { id: 'M0' } },
      },
    },
    content: 'Good evening',
  },
  {
    name: 'edit of a caption',
    message: {
      type: 'edit',
      edit: {
        original_message_id: 'wamid.TARGET',
        message: { type: 'image', image: { ...IMAGE, caption: 'Our old garden' } },
      },
    },
    content: 'Our old garden',
  },
  { name: 'edit without its object', message: { type: 'edit' }, content: undefined },
  {
    name: 'revoke',
    message: { type: 'revoke', revoke: { original_message_id: 'wamid.TARGET' } },
    content: undefined,
  },
  {
    name: 'unsupported',
    message: {
      type: 'unsupported',
      unsupported: { type: 'poll_creation' },
      errors: [{ code: 131051, title: 'Message type unknown', error_data: { details: 'Not supported.' } }],
    },
    content: 'Message type unknown',
  },
  {
    name: 'unsupported edit',
    message: {
      type: 'unsupported',
      unsupported: { type: 'edit', original_message_id: 'wamid.TARGET' },
      errors: [{ code: 131051, title: 'Message type unknown' }],
    },
    content: 'Message type unknown',
  },
  {
    name: 'unknown, the older word for it',
    message: { type: 'unknown', errors: [{ code: 501, message: 'Unsupported message type' }] },
    content: 'Unsupported message type',
  },
  {
    name: 'errors, as the history has it',
    message: { type: 'errors', errors: [{ code: 131051, title: 'Message type unknown' }] },
    content: 'Message type unknown',
  },
  {
    name: 'a type of old that is only an error',
    message: { type: 'ephemeral', errors: [{ code: 501, title: 'Unsupported message type' }] },
    content: 'Unsupported message type',
  },
  { name: 'text without its object', message: { type: 'text', text: 'Just so' }, content: 'Just so' },
  {
    name: 'a type that does not exist yet',
    message: { type: 'hologram', hologram: { id: 'h-1', mime_type: 'model/gltf', caption: 'Look around' } },
    content: 'Look around',
  },
  { name: 'no type', message: { type: undefined, text: { body: 'Typeless' } }, content: 'Typeless' },
]
