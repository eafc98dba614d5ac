/** A test that never ends, run and interrupted by test/support/interrupted-run.test.ts. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { inject, test } from 'vitest'
import { createTestDatabase } from '../postgres.ts'
import { startProcess } from '../processes.ts'
import { withRedis } from '../redis.ts'

test('hangs', async () => {
  const { pool } = await createTestDatabase()
  const child = startProcess('/bin/sh', ['-c', 'sleep 600 & echo "grandchild $!"; wait'])
  const [, grandchild] = await child.waitForOutput(/grandchild (\d+)/)
  const { rows } = await pool.query('SHOW data_directory')
  const postgres = readFileSync(path.join(rows[0].data_directory, 'postmaster.pid'), 'utf8').split('\n')[0]
  const pids = [child.pid, Number(grandchild), Number(postgres), await findRedisPid()].filter(Boolean)
  writeFileSync(process.env.PIDS_FILE ?? '', JSON.stringify(pids))
  await new Promise(() => {})
})

async function findRedisPid(): Promise<number> {
  const url = inject('redisUrl')
  if (!url) return 0
  const info = await withRedis(url, (redis) => redis.info('server'))
  return Number(/process_id:(\d+)/.exec(info)?.[1])
}
