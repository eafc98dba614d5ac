/** Logs each unsafe setting once, and once more when it is safe again, instead of a line at every check. */
import { describeSettingFinding, type SettingFinding } from '../../core/setting-finding.ts'
import type { Logger } from '../../logger/logger.ts'

export type SettingWatchDeps = {
  /** The findings of each store; undefined for a store that does not answer, whose last findings stay. */
  find: () => Promise<readonly (readonly SettingFinding[] | undefined)[]>
  /** Called with the number of settings that are unsafe or cannot be checked. */
  onCount: (count: number) => void
  log: Pick<Logger, 'info' | 'warn'>
}

type Known = ReadonlyMap<string, SettingFinding>

/** `runOnce` rejects when `find` does; all findings stay as they were then. */
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
