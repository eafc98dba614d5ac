/**
 * Mutations of well-formed webhooks. A case is a list of numbers, so that fast-check can draw it from a seed and make it
 * smaller; what the numbers stand for is decided here, anew for each run, with marks and ids that nothing else has.
 */
import fc from 'fast-check'
import { META_ACCOUNT } from '../meta-webhooks.ts'
import { encodeTwilioForm } from '../twilio-webhooks.ts'
import { hostileText, pick, RESERVED_KEYS } from './hostile-texts.ts'
import {
  type JsonNode,
  type JsonObject,
  nodeAt,
  type Place,
  placesIn,
  removeAt,
  repeatAt,
  replaceAt,
  toText,
  toTree,
} from './json-tree.ts'
import { MARK_KEY, type Marker } from './marks.ts'
import { META_WEBHOOKS, TWILIO_FORMS, TWILIO_LISTS } from './well-formed.ts'

export type Format = 'meta' | 'twilio-form' | 'twilio-json'

export type Case = { format: Format; webhook: number; edits: Edit[]; bytes: ByteEdit[] }
type Edit = { kind: EditKind; at: number; choice: number }
type ByteEdit = { kind: 'flip' | 'insert' | 'cut' | 'truncate'; at: number; choice: number }

const EDITS = ['replace', 'remove', 'repeat', 'rename', 'wrap', 'add'] as const
type EditKind = (typeof EDITS)[number]

/** `ids`: what each marked item has where the id of a message stands, as JSON text. */
export type HostileBody = { format: Format; bytes: Buffer; ids: Map<string, string[]> }

const number = fc.nat(1_000_000)

export const anyCase: fc.Arbitrary<Case> = fc.record({
  format: fc.constantFrom<Format>('meta', 'meta', 'meta', 'twilio-form', 'twilio-json'),
  webhook: number,
  edits: fc.array(fc.record({ kind: fc.constantFrom(...EDITS), at: number, choice: number }), {
    maxLength: 4,
  }),
  bytes: fc.oneof(
    { weight: 6, arbitrary: fc.constant<ByteEdit[]>([]) },
    {
      weight: 1,
      arbitrary: fc.array(
        fc.record({
          kind: fc.constantFrom<ByteEdit['kind']>('flip', 'insert', 'cut', 'truncate'),
          at: number,
          choice: number,
        }),
        { minLength: 1, maxLength: 2 },
      ),
    },
  ),
})

export function hostileBody(testCase: Case, marker: Marker): HostileBody {
  const { format, webhook, edits, bytes } = testCase
  const tree = treeOf(format, webhook, marker)
  for (const edit of edits) applyEdit(tree, edit, marker)
  const body = format === 'twilio-form' ? formOf(tree) : Buffer.from(toText(tree))
  return { format, bytes: bytes.reduce(editBytes, body), ids: idsIn(tree) }
}

function treeOf(format: Format, webhook: number, marker: Marker): JsonNode {
  if (format === 'meta') return toTree(pick(META_WEBHOOKS, webhook)(marker))
  if (format === 'twilio-json') return toTree(pick(TWILIO_LISTS, webhook)(marker))
  return toTree(pick(TWILIO_FORMS, webhook)(marker))
}

function applyEdit(tree: JsonNode, { kind, at, choice }: Edit, marker: Marker): void {
  const places = placesIn(tree)
  const place = places[at % places.length]
  if (place === undefined) return
  if (kind === 'replace') replaceAt(place, { text: textFor(place, choice, marker) })
  else if (kind === 'remove') removeAt(place)
  else if (kind === 'repeat') repeatAt(place)
  else if (kind === 'wrap') replaceAt(place, wrapped(nodeAt(place), choice))
  else if ('object' in place) editMember(place, kind, choice, marker)
}

/** In a list every value is an item, and has to be found again. */
function textFor(place: Place, choice: number, marker: Marker): string {
  const isItem = 'list' in place && !place.isAround
  return hostileText(choice, isItem ? marker.mark() : marker.unique())
}

function wrapped(node: JsonNode, choice: number): JsonNode {
  return choice % 2 === 0
    ? { items: [node] }
    : { members: [{ key: JSON.stringify(pick(RESERVED_KEYS, choice)), node }] }
}

function editMember(
  place: Place & { object: JsonObject },
  kind: 'rename' | 'add',
  choice: number,
  marker: Marker,
): void {
  const key =
    choice % 3 === 0 ? hostileText(choice, marker.unique()) : JSON.stringify(pick(RESERVED_KEYS, choice))
  const member = {
    key: key.startsWith('"') ? key : '"x"',
    node: kind === 'rename' ? nodeAt(place) : { text: hostileText(Math.floor(choice / 7), marker.unique()) },
  }
  place.object.members.splice(place.index, kind === 'rename' ? 1 : 0, member)
}

const BYTES = [0x00, 0xff, 0xc0, 0x80, 0xed, 0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d, 0x2c, 0x26, 0x3d, 0x25, 0x2b]

function editBytes(body: Buffer, { kind, at, choice }: ByteEdit): Buffer {
  const start = body.length === 0 ? 0 : at % body.length
  if (kind === 'truncate') return body.subarray(0, start)
  const end = kind === 'insert' ? start : start + 1 + (kind === 'cut' ? choice % 20 : 0)
  const added = kind === 'cut' ? [] : [pick(BYTES, choice)]
  return Buffer.concat([body.subarray(0, start), Buffer.from(added), body.subarray(end)])
}

/** A form has no values but texts: what is none goes in as its JSON text. */
function formOf(tree: JsonNode): Buffer {
  if (!('members' in tree)) return Buffer.from(toText(tree))
  const form = tree.members.map(({ key, node }) =>
    encodeTwilioForm({
      [textOf(key)]: 'text' in node && node.text.startsWith('"') ? textOf(node.text) : toText(node),
    }),
  )
  return Buffer.from(form.join('&'))
}

function textOf(json: string): string {
  return String(JSON.parse(json))
}

/** Of the account and of calls: many items have them, and none of those is a duplicate for it. */
const SHARED_IDS = new RegExp(`^"(?:wacid\\..*|${META_ACCOUNT})"$`)
const ID_KEYS = ['id', 'MessageSid', 'SmsSid', 'SmsMessageSid'].map((key) => JSON.stringify(key))

function idsIn(root: JsonNode): Map<string, string[]> {
  const ids = new Map<string, string[]>()
  const objects = [...new Set([root, ...placesIn(root).map(nodeAt)])].filter((node) => 'members' in node)
  for (const { members } of objects) {
    const own = members
      .filter(({ key }) => ID_KEYS.includes(key))
      .map(({ node }) => toText(node))
      .filter((id) => !SHARED_IDS.test(id))
    for (const { key, node } of members) {
      if (key === JSON.stringify(MARK_KEY) && 'text' in node) ids.set(node.text.slice(1, -1), own)
    }
  }
  return ids
}
