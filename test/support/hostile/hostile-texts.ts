/** What a hostile or broken sender puts in the place of a value, as JSON texts. */

/** Ids under which BullMQ keeps things of its own, and others that mean something to somebody. Equal wherever they stand. */
export const RESERVED_IDS: readonly string[] = [
  ...['wait', 'active', 'completed', 'failed', 'delayed', 'paused', 'prioritized', 'waiting-children'],
  ...['meta', 'id', 'events', 'marker', 'limiter', 'stalled', 'stalled-check', 'repeat', 'pc', 'metrics'],
  ...['0', '1', '123', '__proto__', 'constructor', 'toString', 'null', 'undefined', 'NaN', ' ', '/', '*'],
]

export const RESERVED_KEYS: readonly string[] = [
  ...['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'length', 'then', '', '0'],
  ...[
    'id',
    'status',
    'type',
    'messages',
    'statuses',
    'history',
    'value',
    'entry',
    'contacts',
    'errors',
    'from',
  ],
]

/** Texts that are another one each time: `unique` goes into them. */
const UNIQUE_STRINGS: readonly ((unique: string) => string)[] = [
  (unique) => `"\\u0000${unique}"`,
  (unique) => `"${unique}\\u0000x"`,
  (unique) => `"${unique}\\ud800"`,
  (unique) => `"${unique}\\udc00\\ud800"`,
  (unique) => `"${unique}:b:c"`,
  (unique) => `"${unique}:b"`,
  (unique) => `"wamid.${unique}"`,
  (unique) => `"${digits(unique)}"`,
  (unique) => `"${unique}${'é'.repeat(300)}"`,
  (unique) => `"${unique}${'x'.repeat(600)}"`,
  (unique) => `"${unique}${'x'.repeat(3_000)}"`,
  (unique) => `"${unique}${'\\u00e9'.repeat(20_000)}"`,
  (unique) => `"wamid.${unique}${'A'.repeat(470)}"`,
  (unique) => `"../../${unique}"`,
  (unique) => `"'); DROP TABLE chat_messages; -- ${unique}"`,
  (unique) => `"{\\"__proto__\\":{\\"polluted\\":\\"${unique}\\"}}"`,
  (unique) => `"\\u202e\\ufeff\\u2028 ${unique}\\r\\n\\t"`,
  (unique) => `"${unique} \\ud83d\\ude00"`,
  (unique) => `"US.${unique}"`,
  (unique) => `"1555${digits(unique)}"`,
  (unique) => `"wacid.${unique}"`,
]

const NUMBERS: readonly string[] = [
  ...[
    '0',
    '-0',
    '-1',
    '1.5',
    '1e3',
    '1E-7',
    '1e21',
    '1e308',
    '1e400',
    '-1e400',
    '1e-400',
    '1e9999',
    '1e999999',
  ],
  ...['9007199254740993', '12345678901234567890', '-98765432109876543210.5', '0.1234567890123456789'],
  ...['253402300800', '99999999999999999', '9'.repeat(400), '1'.repeat(140_000), `0.${'1'.repeat(20_000)}`],
]

const OTHERS: readonly string[] = [
  ...['null', 'true', 'false', '""', '" "', '[]', '{}', '[[]]', '[{}]', '[null]', '{"":""}', '[1,2,3]'],
  ...['{"__proto__":{"polluted":true}}', '{"constructor":{"prototype":{"polluted":true}}}'],
  ...[
    '{"id":"wait"}',
    '{"previous":"US.1","current":"US.2"}',
    '{"id":null,"id":"x"}',
    '"whatsapp:+15551230001"',
  ],
  ...['"8.64e15"', '"99999999999"', '"8640000000000000"', '"-1"', '"NaN"', '"0x10"', '"1760000000.5"'],
  ...['"\\u0000"', '"\\ud800"', '"\\udfff\\ud83d"', '{"\\u0000":"\\u0000"}', '{"\\ud800":1}'],
]

const NESTING_DEPTHS: readonly number[] = [20, 511, 512, 513, 600, 3_000, 20_000, 200_000]

/** One of very many texts, chosen by the number; another one for each `unique` where it is a string of some kind. */
export function hostileText(choice: number, unique: string): string {
  const kinds = [
    (n: number) => pick(UNIQUE_STRINGS, n)(unique),
    (n: number) => pick(NUMBERS, n),
    (n: number) => pick(OTHERS, n),
    (n: number) => JSON.stringify(pick(RESERVED_IDS, n)),
    (n: number) => nested(pick(NESTING_DEPTHS, n), n % 2 === 0, unique),
  ]
  return pick(kinds, choice)(Math.floor(choice / kinds.length))
}

export function nested(levels: number, isList: boolean, innermost: string): string {
  return isList
    ? `${'['.repeat(levels)}"${innermost}"${']'.repeat(levels)}`
    : `${'{"a":'.repeat(levels)}"${innermost}"${'}'.repeat(levels)}`
}

export function pick<T>(choices: readonly T[], choice: number): T {
  return choices[choice % choices.length] as T
}

function digits(text: string): string {
  return [...text].map((character) => character.charCodeAt(0) % 10).join('')
}
