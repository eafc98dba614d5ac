/**
 * FlowData and InteractiveData: JSON in a form field, of a shape that Twilio does not document and that may be invalid.
 * What was tapped has a title; of a flow the answers are listed, wherever in the JSON they stand.
 */

/** Enough for a page of a flow with a list in it; whatever lies deeper is in the payload. */
const MAX_LEVELS = 5
const MAX_ANSWERS = 50
/** What Meta puts around what was tapped or answered. */
const REPLY_KEYS = ['list_reply', 'button_reply', 'nfm_reply']

/** One line for a reader; text that is no JSON is that line. */
export function readInteraction(json: string | undefined): string | undefined {
  if (json === undefined) return undefined
  const interaction = parseOrText(json)
  const reply = REPLY_KEYS.map((key) => property(interaction, key)).find((value) => value !== undefined)
  const title = property(reply, 'title')
  if (typeof title === 'string' && title !== '') return title
  const form = property(reply ?? interaction, 'response_json') ?? reply ?? interaction
  const answers = listAnswers('', typeof form === 'string' ? parseOrText(form) : form, MAX_LEVELS)
  return answers.length === 0 ? undefined : answers.slice(0, MAX_ANSWERS).join(', ')
}

function listAnswers(key: string, value: unknown, levels: number): string[] {
  if (levels === 0 || key === 'flow_token' || value === null || value === '') return []
  if (Array.isArray(value)) return value.flatMap((item) => listAnswers(key, item, levels - 1))
  if (typeof value === 'object') {
    return Object.entries(value).flatMap(([name, item]) => listAnswers(name, item, levels - 1))
  }
  return [key === '' ? String(value) : `${key}: ${value}`]
}

/** JSON that is an object or a list; everything else is text as it stands: `12` is no number to calculate with. */
function parseOrText(text: string): unknown {
  if (!/^\s*[{[]/.test(text)) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function property(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return Object.entries(value).find(([name]) => name === key)?.[1]
}
