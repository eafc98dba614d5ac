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
export type Place = { list: JsonList; index: number } | { object: JsonObject; index: number }

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
  const open = [root]
  for (let node = open.shift(); node !== undefined; node = open.shift()) {
    if ('text' in node || seen.has(node)) continue
    seen.add(node)
    if ('items' in node) {
      const list = node
      list.items.forEach((item, index) => {
        places.push({ list, index })
        open.push(item)
      })
    } else {
      const object = node
      object.members.forEach((member, index) => {
        places.push({ object, index })
        open.push(member.node)
      })
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
