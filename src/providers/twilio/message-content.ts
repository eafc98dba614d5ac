/** The readable text of a message, which the search also uses. */
import type { MediaFact } from '../../core/fact.ts'
import { type Fields, firstOf } from './fields.ts'
import { readInteraction } from './interaction.ts'
import { mediaType } from './media.ts'

/** MessageType where Twilio names it, else derived from what is there. */
export function readMessageType(fields: Fields, media: readonly MediaFact[]): string {
  const named = fields.get('MessageType')?.toLowerCase()
  if (named !== undefined) return named
  const [attachment] = media
  if (attachment !== undefined) return mediaType(attachment)
  if (fields.has('Latitude') && fields.has('Longitude')) return 'location'
  if (firstOf(fields, ['ButtonText', 'ButtonPayload']) !== undefined) return 'button'
  return firstOf(fields, ['InteractiveData', 'FlowData', 'ListId', 'ListTitle']) === undefined
    ? 'text'
    : 'interactive'
}

/** Text or caption, the title of what was tapped, the answers of a flow, the place; undefined where there is none. */
export function readContent(fields: Fields): string | undefined {
  return (
    firstOf(fields, ['Body', 'ButtonText', 'ListTitle']) ??
    readInteraction(firstOf(fields, ['FlowData', 'InteractiveData'])) ??
    readPlace(fields) ??
    firstOf(fields, ['ButtonPayload', 'ListId'])
  )
}

function readPlace(fields: Fields): string | undefined {
  const [label, address] = [fields.get('Label'), fields.get('Address')]
  if (label !== undefined && address !== undefined) {
    return address.startsWith(label) ? address : `${label}, ${address}`
  }
  const [latitude, longitude] = [fields.get('Latitude'), fields.get('Longitude')]
  const point = latitude !== undefined && longitude !== undefined ? `${latitude},${longitude}` : undefined
  return label ?? address ?? point
}
