/** Types of columns, for the types of the tables. */
import type { ColumnType, Generated, JSONColumnType } from 'kysely'

/** bigint columns come back as strings: ids beyond 2^53 stay exact. */
export type Id = Generated<string>
export type Timestamp = ColumnType<Date, Date | string, Date | string>
export type GeneratedTimestamp = ColumnType<Date, Date | string | undefined, Date | string>
/** jsonb is written as JSON text and read as a value. */
export type Json = JSONColumnType<object, string | null, string | null>
