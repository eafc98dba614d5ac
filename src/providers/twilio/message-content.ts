/** What people read of a message, and what they look for it by. */
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
  const names = [fields.get('Label'), fields.get('Address')].filter((name) => name !== undefined)
  if (names.length > 0) return names.join(', ')
  const [latitude, longitude] = [fields.get('Latitude'), fields.get('Longitude')]
  return latitude !== undefined && longitude !== undefined ? `${latitude}, ${longitude}` : undefined
}
