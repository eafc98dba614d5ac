import { spawn } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import {
  childrenOf,
  cpuMsOf,
  cpuMsOfServer,
  parseProcessStat,
  residentBytesOf,
} from '../../rig/process-times.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'

/** Each child burns 300 ms of CPU. A system that counts in ticks of 10 ms can miss a part of it: 260 ms has been seen. */
const LEAST_BURNT_MS = 200
const BURN = 'const until = process.cpuUsage().user + 300_000; while (process.cpuUsage().user < until);'

describe('parseProcessStat', () => {
  test('finds the times behind a name with blanks and parentheses', () => {
    const stat = '42 (a) b (c)) S 7 42 42 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 1 0 100 1000 10'

    expect(parseProcessStat(stat)).toEqual({ pid: 42, parent: 7, own: 33, ended: 77 })
  })

  test('has nothing to say about anything else', () => {
    expect(parseProcessStat('')).toBeUndefined()
  })
})

describe.skipIf(process.platform !== 'linux')('on Linux', () => {
  test('counts the CPU that this process uses', () => {
    const before = cpuMsOf(process.pid)!
    const until = process.cpuUsage().user + 100_000
    while (process.cpuUsage().user < until);

    expect(cpuMsOf(process.pid)! - before).toBeGreaterThan(70)
    expect(residentBytesOf(process.pid)).toBeGreaterThan(20 * 2 ** 20)
  })

  test('counts for a server what its children use, while they run and when they have ended', async () => {
    const script = `
      const { spawn } = require('node:child_process')
      spawn(process.execPath, ['-e', ${JSON.stringify(`${BURN} process.stdin.resume()`)}], { stdio: ['pipe', 'ignore', 'inherit'] })
      spawn(process.execPath, ['-e', ${JSON.stringify(BURN)}], { stdio: 'ignore' })
      setInterval(() => {}, 1000)`
    const server = spawn(process.execPath, ['-e', script], { stdio: 'ignore' })
    cleanUp(() => {
      for (const child of childrenOf(server.pid!)) process.kill(child.pid, 'SIGKILL')
      server.kill('SIGKILL')
    })

    await eventually(() => expect(childrenOf(server.pid!)).toHaveLength(1))
    await eventually(() => expect(cpuMsOfServer(server.pid!)).toBeGreaterThan(2.5 * LEAST_BURNT_MS))

    const [running] = childrenOf(server.pid!)
    const without = cpuMsOfServer(server.pid!, new Set([running!.pid]))!
    expect(cpuMsOfServer(server.pid!)! - without).toBeGreaterThan(LEAST_BURNT_MS)
    expect(without).toBeGreaterThan(LEAST_BURNT_MS)
  })

  test('knows nothing of a process that is gone', () => {
    expect(cpuMsOf(2 ** 22 + 1)).toBeUndefined()
    expect(cpuMsOfServer(2 ** 22 + 1)).toBeUndefined()
  })
})
