/** The steps of a dedupe run as progress: a bar for rows, and for blocks once their number is known. */
import type { DedupeProgress, DedupeStep } from '../../db/dedupe/run.ts'
import type { CommandContext } from '../command.ts'
import { commandProgress, type Progress } from '../progress.ts'

const LABELS: Record<DedupeStep, string> = {
  prepare: 'preparing',
  move: 'moving duplicates',
  index: 'building the unique index',
  finish: 'finishing',
}

export function createStepProgress(ctx: CommandContext) {
  let current: { key: string; progress: Progress } | undefined
  const finish = () => {
    current?.progress.finish()
    current = undefined
  }
  return {
    update({ step, done, total, details }: DedupeProgress): void {
      const key = `${step} ${total}`
      if (current?.key !== key) {
        finish()
        current = { key, progress: commandProgress(ctx, LABELS[step], total > 0 ? total : undefined) }
      }
      current.progress.update(done, details)
    },
    finish,
  }
}
