/** One run of dedupe: what its steps share. */
import { randomUUID } from 'node:crypto'
import type { MoveContext } from '../any-table/move-rows.ts'
import { findReferences } from '../any-table/references.ts'
import type { Target } from '../any-table/target.ts'
import type { RunTally } from './deferred-rows.ts'
import { emptyTally } from './move-duplicates.ts'
import { describeLockHolders, type Session } from './session.ts'

export type DedupeStep = 'prepare' | 'move' | 'index' | 'finish'

export type DedupeProgress = {
  step: DedupeStep
  /** Rows for `move`, else blocks of the table; total 0: not known. */
  done: number
  total: number
  details?: string | undefined
}

export type Run = {
  session: Session
  context: MoveContext
  tally: RunTally
  report: (progress: DedupeProgress) => void
}

export type RunOptions = { fillsGaps?: boolean; onProgress?: (progress: DedupeProgress) => void }

export async function createRun(session: Session, target: Target, options: RunOptions): Promise<Run> {
  return {
    session,
    context: {
      target,
      references: await findReferences(session.query, target),
      runId: randomUUID(),
      fillsGaps: options.fillsGaps ?? false,
    },
    tally: { ...emptyTally(), restored: 0 },
    report: options.onProgress ?? (() => {}),
  }
}

/** Reports which process has the lock that the run waits for. */
export function reportWaiting({ session, report }: Run, step: DedupeStep) {
  return async (tableOids: string[]) => {
    const holder = await describeLockHolders(session, tableOids).catch(() => undefined)
    report({ step, done: 0, total: 0, details: holder ?? 'waiting for a lock' })
  }
}

export function reportBuild({ report }: Run, step: DedupeStep) {
  return (done: number, total: number, details?: string) => report({ step, done, total, details })
}
