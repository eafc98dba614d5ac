/** Tells the log of each unsafe setting once, and again when it is safe: a line a minute would be read by nobody. */
import { describeSettingFinding, type SettingFinding } from '../../core/setting-finding.ts'
import type { Logger } from '../../logger/logger.ts'

export type SettingWatchDeps = {
  /** Of each store; undefined for one that does not answer, of which nothing new is known. */
  find: () => Promise<readonly (readonly SettingFinding[] | undefined)[]>
  /** How many are unsafe or cannot be checked. */
  onCount: (count: number) => void
  log: Pick<Logger, 'info' | 'warn'>
}

type Known = ReadonlyMap<string, SettingFinding>

/** `runOnce` rejects when `find` does, and then nothing is taken to have changed. */
export function createSettingWatch({ find, onCount, log }: SettingWatchDeps): { runOnce(): Promise<void> } {
  let known: readonly Known[] = []

  return {
    runOnce: async () => {
      const found = await find()
      known = found.map((findings, store) => {
        const before: Known = known[store] ?? new Map()
        if (findings === undefined) return before
        const after = new Map(findings.map((finding) => [finding.setting, finding]))
        reportChanges(before, after, log)
        return after
      })
      onCount(known.reduce((count, { size }) => count + size, 0))
    },
  }
}

function reportChanges(before: Known, after: Known, log: SettingWatchDeps['log']): void {
  for (const [setting, finding] of after)
    if (!before.has(setting)) log.warn({ detail: describeSettingFinding(finding) }, 'unsafe setting')
  for (const setting of before.keys()) if (!after.has(setting)) log.info({ setting }, 'setting is safe again')
}
