/**
 * Finds secrets that do not protect: placeholders of an example, short ones, and those that password crackers try first.
 * No message repeats the value.
 *
 * No rule asks for kinds of characters (OWASP ASVS 5.0, 6.2.5). docs/decisions/0006-secrets.md says why these are rules of
 * our own and not a library's.
 */
import { notesOf, type VariableShape } from '../variables/variable.ts'
import type { SetVariables } from './variables.ts'

/** A line for each variable with a weak secret, with the next step. */
export function findWeakSecrets(set: SetVariables, variables: VariableShape): string[] {
  return Object.entries(variables).flatMap(([name, variable]) => {
    const { strength } = notesOf(name, variable)
    if (strength === undefined) return []
    const { minLength, isList = false, nextStep } = strength
    const values = isList ? (set[name] ?? '').split(',') : [set[name] ?? '']
    const reasons = values
      .map((value) => value.trim())
      .filter((value) => value !== '')
      .map((value) => whyWeak(value, minLength, set.ADMIN_USER))
    const reason = reasons.find((found) => found !== undefined)
    return reason === undefined ? [] : [`${name} ${reason}; ${nextStep}`]
  })
}

/** Why the secret is weak, as the end of a sentence that begins with its name; undefined when it is not. */
export function whyWeak(value: string, minLength: number, user = 'admin'): string | undefined {
  if (isPlaceholder(value)) return 'still has the text of an example'
  if (value.length < minLength) return `is too short: it needs at least ${minLength} characters`
  if (isMonotonous(value))
    return 'is a repetition or a row of neighbouring characters, which is guessed first'
  if (isMadeOfCommonWords(value, user)) return 'is made of words and digits that are guessed first'
  return undefined
}

const PLACEHOLDER =
  /^<.*>$|^\$\{.*\}$|\.\.\.|x{5,}|change-?me|replace-?me|replace-?this|fill-?in|placeholder|(?:^|-)todo(?:-|$)|(?:^|-)your-|-here$|^(?:the|my)-?(?:secret|token|password)$/

function isPlaceholder(value: string): boolean {
  return PLACEHOLDER.test(value.toLowerCase().replace(/[_\s]+/g, '-'))
}

const MIN_DISTINCT_CHARACTERS = 5
/** A block of at least this length may be repeated. */
const MIN_BLOCK_LENGTH = 8
/** Rows and columns of the keyboard, the alphabet and the digits; some continue from their end. */
const ROWS = [
  'qwertyuiopqwertyuiop',
  'asdfghjklasdfghjkl',
  'zxcvbnmzxcvbnm',
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm',
  '1q2w3e4r5t6y7u8i9o0p',
  'qazwsxedcrfvtgbyhnujm',
  'abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz',
  '012345678901234567890',
]
const LINES = [...ROWS, ...ROWS.map((row) => [...row].reverse().join(''))]

function isMonotonous(value: string): boolean {
  const lower = value.toLowerCase()
  if (new Set(lower).size < MIN_DISTINCT_CHARACTERS) return true
  const block = /^(.+?)\1+.{0,3}$/.exec(lower)?.[1]
  if (block !== undefined && block.length < MIN_BLOCK_LENGTH) return true
  return withoutRows(lower.replace(/[^\p{L}\p{N}]/gu, '')).length < 3
}

/** The text without every stretch of a row that has at least four characters. */
function withoutRows(text: string): string {
  let rest = ''
  for (let start = 0; start < text.length; ) {
    const length = rowLengthAt(text, start)
    if (length < 4) rest += text[start]
    start += length < 4 ? 1 : length
  }
  return rest
}

function rowLengthAt(text: string, start: number): number {
  let length = 1
  while (
    start + length < text.length &&
    LINES.some((line) => line.includes(text.slice(start, start + length + 1)))
  )
    length++
  return length
}

/** Words of common passwords, and words that belong to this service. */
const COMMON_WORDS =
  `password passwort passwd pass word admin administrator root user login welcome willkommen letmein changeme secret default
guest test testing demo master super hello iloveyou love monkey dragon football baseball soccer superman batman princess
sunshine shadow michael jennifer jordan summer winter spring autumn january february march april may june july august
september october november december monday friday access internet computer mustang trustno qwerty qwertz azerty asdf
asdfgh asdfghjkl zxcvbn zxcvbnm qwertyuiop abc abcd abcdef database server system service production company business
office support dashboard board bull queue queues redis postgres postgresql docker localhost whatsapp wa ingest meta
twilio facebook webhook webhooks message messages chat is my the this your i am me a and one two three first strong safe`
    .split(/\s+/)
    .sort((a, b) => b.length - a.length)

const LEET: Record<string, string> = {
  0: 'o',
  1: 'i',
  3: 'e',
  4: 'a',
  5: 's',
  7: 't',
  '@': 'a',
  $: 's',
  '!': 'i',
}

function isMadeOfCommonWords(value: string, user: string): boolean {
  const lower = value.toLowerCase()
  // `passw0rd2026` is `password` with a year: the digits at the ends do not stand for letters.
  const core = lower.replace(/^[^\p{L}]+|[^\p{L}]+$/gu, '')
  const words = [user.toLowerCase(), ...COMMON_WORDS]
  return [lower, withoutLeet(lower), withoutLeet(core)].some((text) => {
    const letters = text.replace(/[^\p{L}]/gu, '')
    // A random secret of mostly digits may by chance have a few letters that make a word.
    return letters.length * 3 >= value.length && isConcatenation(letters, words)
  })
}

function withoutLeet(text: string): string {
  return text.replace(/[0134578@$!]/g, (character) => LEET[character] ?? character)
}

/** Whether the text is made of words of the list alone. */
function isConcatenation(text: string, words: readonly string[]): boolean {
  const reachable = new Set([0])
  for (let end = 0; end < text.length; end++) {
    if (!reachable.has(end)) continue
    for (const word of words) if (word !== '' && text.startsWith(word, end)) reachable.add(end + word.length)
  }
  return reachable.has(text.length)
}
