/**
 * FlowData and InteractiveData: JSON in a form field, of a shape that Twilio does not document and that may be invalid.
 * What was tapped has a title; of a flow the answers are listed, wherever in the JSON they stand.
 */

/** Of no interest to a reader. */
const TECHNICAL_KEYS = new Set(['flow_token', 'type', 'id'])
/** Enough for JSON inside JSON inside Meta's reply object; whatever lies deeper is in the payload. */
const MAX_LEVELS = 6
const MAX_ANSWERS = 50

/** One line for a reader; text that is no JSON is that line. */
export function readInteraction(json: string | undefined): string | undefined {
  if (json === undefined) return undefined
  const value = parseOrText(json)
  if (!isObject(value)) return typeof value === 'string' ? value : json
  const title = findTitle(value)
  if (title !== undefined) return title
  const answers = listAnswers('', value, MAX_LEVELS).slice(0, MAX_ANSWERS)
  return answers.length === 0 ? undefined : answers.join(', ')
}

function findTitle(value: object): string | undefined {
  for (const [key, reply] of Object.entries(value)) {
    if (!/^(?:list|button)_reply$/.test(key) || !isObject(reply)) continue
    const title = Object.entries(reply).find(([name]) => name === 'title')?.[1]
    if (typeof title === 'string' && title !== '') return title
  }
  return undefined
}

function listAnswers(key: string, value: unknown, levels: number): string[] {
  if (levels === 0 || TECHNICAL_KEYS.has(key)) return []
  const answer = typeof value === 'string' ? parseOrText(value) : value
  if (!isObject(answer)) {
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    return text === '' || text === 'null' ? [] : [key === '' ? text : `${key}: ${text}`]
  }
  if (Array.isArray(answer)) return answer.flatMap((item) => listAnswers(key, item, levels - 1))
  return Object.entries(answer).flatMap(([name, item]) => listAnswers(name, item, levels - 1))
}

/** JSON that is an object or a list; everything else is text as it stands: an answer `12` is no number to calculate with. */
function parseOrText(text: string): unknown {
  if (!/^\s*[{[]/.test(text)) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
