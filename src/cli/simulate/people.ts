/**
 * The customers who write: invented, with numbers from the 555 range, the same in every run. Name and ids depend on the
 * customer's number alone, so that a second run continues their conversations.
 */
import { createRandom, deriveSeed } from './random.ts'

export type Person = {
  name: string
  user_id: string
  /** Absent for a person who writes under a username and hides the number. */
  phone?: string
  username?: string
}

/** So many different numbers there are: +1 555 and seven digits. */
export const MAX_PEOPLE = 10_000_000

const FIRST_NAMES = namesIn(
  'Ana Björn Chloé Dmitri Esra Fábio Grace Hüseyin Inês José Kwame Łucja Mária Nguyễn Olu ' +
    'Priya Quentin René Søren Tomáš Umar Vera 伟 Ximena Yūki Zoë أمل אורי सीमा Οδυσσέας Ирина 지우',
)
const LAST_NAMES = namesIn(
  'Almeida Brückner Castañeda Dvořák Eze Fontaine García Håkansson Ito Jansen Kovács Lima ' +
    "Müller Nwosu O'Neil Pereira Quispe Rossi Şahin Tanaka Usman",
)
const DECORATIONS = ['🌻', '⚽', '✨', '🏳️‍🌈', '👩🏽‍💻'] as const

/** Every tenth of them hides the number. */
const NUMBER_IS_HIDDEN_AT = 9

/** The person of this number, from 0. */
export function personAt(index: number): Person {
  const random = createRandom(deriveSeed(0x9e0_91e, 1, index))
  const decoration = random.chance(0.15) ? ` ${random.pick(DECORATIONS)}` : ''
  const name = `${random.pick(FIRST_NAMES)} ${random.pick(LAST_NAMES)}${decoration}`
  const userId = `US.${1_555_000_000_000_000 + index}`
  if (index % 10 === NUMBER_IS_HIDDEN_AT) return { name, user_id: userId, username: `writer${index}` }
  // A step without a common factor with the range: neighbours look unrelated, and no number comes twice.
  const line = String((index * 7_919 + 1_234) % MAX_PEOPLE).padStart(7, '0')
  return { name, user_id: userId, phone: `1555${line}` }
}

function namesIn(text: string): [string, ...string[]] {
  const [first = '', ...others] = text.split(' ')
  return [first, ...others]
}
