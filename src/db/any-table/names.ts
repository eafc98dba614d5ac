/** Names of tables and columns: as an operator types them, and as SQL needs them. */

/** One part of a name, and whether it was in double quotes. */
export type NamePart = { text: string; isQuoted: boolean }

/** Longest name that PostgreSQL keeps, in bytes (NAMEDATALEN - 1). */
export const MAX_NAME_BYTES = 63

/** A name as SQL: always in quotes, so that capitals, spaces and reserved words are safe. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** A name with its schema, as SQL. */
export function qualifiedName(schema: string, name: string): string {
  return `${quoteName(schema)}.${quoteName(name)}`
}

/** The reverse of `quoteName`. */
export function unquoteName(sql: string): string {
  return sql.slice(1, -1).replaceAll('""', '"')
}

/** A text as an SQL literal. */
export function quoteText(text: string): string {
  const escaped = text.replaceAll("'", "''")
  return escaped.includes('\\') ? ` E'${escaped.replaceAll('\\', '\\\\')}'` : `'${escaped}'`
}

/**
 * Splits `messages`, `app.messages`, `"Message"` or `app."odd.name"` at the dots outside of quotes.
 * @throws Error when quotes are not closed or a part is empty.
 */
export function parseName(text: string): NamePart[] {
  const parts: NamePart[] = []
  const pattern = /\s*(?:"((?:[^"]|"")+)"|([^".\s]+(?:\s+[^".\s]+)*))\s*(\.|$)/gy
  let match: RegExpExecArray | null
  do {
    match = pattern.exec(text)
    if (!match) throw new Error(`${text} is no name: write table, schema.table or "Table"`)
    const [, quoted, plain = '', end] = match
    parts.push({ text: quoted?.replaceAll('""', '"') ?? plain, isQuoted: quoted !== undefined })
    if (end === '') return parts
  } while (pattern.lastIndex < text.length)
  throw new Error(`${text} is no name: it ends with a dot`)
}

/**
 * The names that a typed name may mean, best first. A shell removes the quotes, so a name with capitals is tried as typed
 * before it is tried in lower case, as SQL reads it.
 */
export function spellingsOf({ text, isQuoted }: NamePart): string[] {
  return isQuoted ? [text] : [...new Set([text, text.toLowerCase()])]
}
