/**
 * JSON as a tree that can hold what no JavaScript value can: a key twice, numbers of any length, escapes of lone
 * surrogates, nesting without end. Every scalar is its own JSON text.
 */
export type JsonNode = JsonScalar | JsonList | JsonObject
export type JsonScalar = { text: string }
export type JsonList = { items: JsonNode[] }
export type JsonObject = { members: JsonMember[] }
export type JsonMember = { key: string; node: JsonNode }

/** Where a node stands, so that it can be replaced, moved, repeated or taken out. */
export type Place = ({ list: JsonList } | { object: JsonObject }) & {
  index: number
  /** Whether it is inside of what describes the items, and is not kept with each of them: `contacts`, `metadata`. */
  isAround: boolean
}

const AROUND = new Set(['"contacts"', '"metadata"'])

export function toTree(value: unknown): JsonNode {
  if (Array.isArray(value)) return { items: value.map(toTree) }
  if (typeof value !== 'object' || value === null) return { text: JSON.stringify(value) }
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  return { members: members.map(([key, member]) => ({ key: JSON.stringify(key), node: toTree(member) })) }
}

export function toText(node: JsonNode): string {
  if ('text' in node) return node.text
  if ('items' in node) return `[${node.items.map(toText).join(',')}]`
  return `{${node.members.map(({ key, node: member }) => `${key}:${toText(member)}`).join(',')}}`
}

/** Every place in the tree but the root's, outermost first. A node that stands in two places is walked once. */
export function placesIn(root: JsonNode): Place[] {
  const places: Place[] = []
  const seen = new Set<JsonNode>()
  const open = [{ node: root, isAround: false }]
  for (let next = open.shift(); next !== undefined; next = open.shift()) {
    const { node, isAround } = next
    if ('text' in node || seen.has(node)) continue
    seen.add(node)
    if ('items' in node) {
      places.push(...node.items.map((_, index) => ({ list: node, index, isAround })))
      open.push(...node.items.map((item) => ({ node: item, isAround })))
    } else {
      places.push(...node.members.map((_, index) => ({ object: node, index, isAround })))
      open.push(
        ...node.members.map(({ key, node: member }) => ({
          node: member,
          isAround: isAround || AROUND.has(key),
        })),
      )
    }
  }
  return places
}

export function nodeAt(place: Place): JsonNode {
  const node = 'list' in place ? place.list.items[place.index] : place.object.members[place.index]?.node
  if (node === undefined) throw new Error('the place is gone')
  return node
}

export function replaceAt(place: Place, node: JsonNode): void {
  if ('list' in place) place.list.items[place.index] = node
  else place.object.members[place.index] = { key: keyAt(place), node }
}

export function removeAt(place: Place): void {
  if ('list' in place) place.list.items.splice(place.index, 1)
  else place.object.members.splice(place.index, 1)
}

/** The same node once more beside itself: an item twice in its list, or a key twice in its object. */
export function repeatAt(place: Place): void {
  if ('list' in place) place.list.items.splice(place.index, 0, nodeAt(place))
  else place.object.members.splice(place.index, 0, { key: keyAt(place), node: nodeAt(place) })
}

/** The JSON text of the key, quotes included. */
export function keyAt(place: { object: JsonObject; index: number }): string {
  return place.object.members[place.index]?.key ?? '""'
}
