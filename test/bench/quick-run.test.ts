/** `npm run bench -- --quick`: every contender and every workload still works. Says nothing about times. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { CONTENDERS } from '../../bench/contenders.ts'
import type { Result } from '../../bench/report/results.ts'
import { WORKLOADS } from '../../bench/workloads.ts'
import { PROJECT, startProcess } from '../support/processes.ts'
import { hasRedis } from '../support/redis.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

/** Other tests run beside it, and the first run installs the peers. */
const TIMEOUT_MS = 300_000

describe.skipIf(!hasRedis)('npm run bench -- --quick', () => {
  test(
    'measures every contender and every workload, and finds everything stored once',
    async () => {
      const directory = createTempDirectory()
      const [json = '', svg = '', markdown = ''] = ['json', 'svg', 'md'].map((end) =>
        path.join(directory, `run.${end}`),
      )
      const args = ['--quick', '--json', json, '--svg', svg, '--markdown', markdown, '--data-dir', directory]

      const bench = startProcess(process.execPath, [path.join(PROJECT, 'bench/main.ts'), ...args], {
        cwd: PROJECT,
      })

      expect(await bench.ended, bench.output).toEqual({ code: 0, signal: null })
      const { results }: { results: Result[] } = JSON.parse(readFileSync(json, 'utf8'))
      expect(new Set(results.map(({ contender }) => contender))).toEqual(new Set(CONTENDERS))
      expect(new Set(results.map(({ workload }) => workload))).toEqual(new Set(WORKLOADS))
      for (const result of results)
        expect(result, bench.output).toMatchObject({ lost: 0, doubled: 0, refused: 0 })
      expect(readFileSync(svg, 'utf8')).toContain('graphile-worker')
      expect(readFileSync(markdown, 'utf8')).toContain('### large-table')
    },
    TIMEOUT_MS,
  )
})
