/**
 * Mutants that survive for a reason: no test can tell them from the original, or what they change is no promise. `line` and
 * `change` are as `npm run mutate` prints them. One that is noticed after all is reported, and goes.
 */
export type Accepted = { line: string; change: string; why: string }

export const ACCEPTED: Readonly<Record<string, readonly Accepted[]>> = {
  'src/api/admin-auth.ts': [
    {
      line: "return req.ip === undefined ? 'unknown' : ipKeyGenerator(req.ip)",
      change: `'unknown' → ""`,
      why: 'a request of a client that is connected has an address',
    },
    {
      line: "const [, scheme, value] = /^(basic|bearer) +(\\S+) *$/i.exec(header ?? '') ?? []",
      change: `'' → "Stryker was here!"`,
      why: 'no header and a header of another form mean the same',
    },
    {
      line: "const [, scheme, value] = /^(basic|bearer) +(\\S+) *$/i.exec(header ?? '') ?? []",
      change: '[] → ["Stryker was here"]',
      why: 'the first element is not read',
    },
  ],
  'src/core/clock-skew.ts': [
    {
      line: "const direction = aheadMs > 0 ? 'ahead of' : 'behind'",
      change: 'aheadMs > 0 → aheadMs >= 0',
      why: 'a difference of 0 is no finding',
    },
  ],
  'src/core/request-digest.ts': [
    {
      line: '.sort(([a], [b]) => (a < b ? -1 : 1))',
      change: 'a < b → a <= b',
      why: 'an object has no name twice',
    },
  ],
  'src/core/phone.ts': [
    {
      line: 'if (DIGITS.test(text)) return text',
      change: 'DIGITS.test(text) → false',
      why: 'only faster: the same follows from the lines below',
    },
    {
      line: "if (!digits.startsWith('5')) return digits",
      change: "!digits.startsWith('5') → false",
      why: 'only faster: the same follows from the lines below',
    },
    {
      line: "if (!digits.startsWith('5')) return digits",
      change: `'5' → ""`,
      why: 'only faster: the same follows from the lines below',
    },
  ],
  'src/db/ingest/statuses.ts': ['rows.length > 0 → true', 'rows.length > 0 → rows.length >= 0'].map(
    (change) => ({
      line: 'if (rows.length > 0) {',
      change,
      why: 'only faster: without a group message nothing is changed',
    }),
  ),
}
