/** Progress of work in steps: a line for each step, with a bar where the total is known. */
import type { CommandContext } from './command.ts'
import { commandProgress, type Progress } from './progress.ts'

type StepProgress<Step extends string> = {
  step: Step
  done: number
  /** 0: not known. */
  total: number
  details?: string | undefined
}

/** `labels`: what a step is called; without an entry, its own name. */
export function createStepProgress<Step extends string>(
  ctx: CommandContext,
  labels: Partial<Record<Step, string>> = {},
) {
  let current: { key: string; progress: Progress } | undefined
  const finish = () => {
    current?.progress.finish()
    current = undefined
  }
  return {
    update({ step, done, total, details }: StepProgress<Step>): void {
      const key = `${step} ${total}`
      if (current?.key !== key) {
        finish()
        const label = labels[step] ?? step
        current = { key, progress: commandProgress(ctx, label, total > 0 ? total : undefined) }
      }
      current.progress.update(done, details)
    },
    finish,
  }
}
