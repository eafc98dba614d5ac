/** Compares the results of a scenario with its promise. Each breach is one line. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { RequestTotals } from '../src/cli/simulate/tally.ts'
import type { Audit } from './audit/auditor.ts'
import { growthOf, type MemoryReport } from './memory.ts'
import { readReadiness } from './readiness.ts'
import type { Limits } from './scenario.ts'
import { servicesOf, type World } from './world/world.ts'

export function judgeAudit(audit: Audit, limits: Limits): string[] {
  const breaches = [...audit.faults]
  if (audit.doubled > 0) breaches.push(`${audit.doubled} doubled: ${audit.examples.doubled.join(', ')}`)
  if (audit.lostAgainstPromise > 0) {
    breaches.push(`${audit.lostAgainstPromise} lost: ${audit.examples.lost.join(', ')}`)
  }
  if (audit.lost === 0 && limits.losesSome) breaches.push('nothing was lost: the fault did not happen')
  if (audit.evicted > 0 && !limits.losesSome) breaches.push(`${audit.evicted} jobs have lost their data`)
  const left = Object.entries(audit.unfinishedJobs)
  if (left.length > 0) {
    breaches.push(`jobs that did not end: ${left.map(([state, count]) => `${count} ${state}`).join(', ')}`)
  }
  return breaches
}

export function judgeMemory(usage: MemoryReport, limits: Limits): string[] {
  return Object.entries(usage.peakBytes)
    .filter(([name, bytes]) => name !== 'redis' && bytes > limits.rssBytes)
    .map(
      ([name, bytes]) =>
        `${name} took ${Math.round(bytes / 2 ** 20)} MB, at most ${limits.rssBytes / 2 ** 20} MB are allowed`,
    )
}

export function judgeGrowth(world: World, usage: MemoryReport, limits: Limits): string[] {
  return servicesOf(world)
    .filter((service) => service.starts() === 1)
    .map(({ name }) => ({ name, growth: growthOf(usage, name) ?? 1 }))
    .filter(({ growth }) => growth > limits.growth)
    .map(({ name, growth }) => `the memory of ${name} grew to ${growth.toFixed(2)} times what it was`)
}

const POLL_MS = 100
const LOST_CONNECTION = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE'])

/** Anything but 200 and 503; a connection may be lost where a receiver has ended. */
export function judgeAnswers(world: World, requests: RequestTotals, longestMs: number): string[] {
  const receiverEnded = world.apis.some((api) => api.starts() > 1)
  const strange = Object.entries(requests.answers)
    .filter(([name]) => name !== '200' && name !== '503')
    .filter(([name]) => !(receiverEnded && LOST_CONNECTION.has(name)))
    .map(([name, count]) => `${count} webhooks were answered with ${name}`)
  if (requests.longestAnswerMs <= longestMs) return strange
  const tookMs = Math.round(requests.longestAnswerMs)
  return [...strange, `an answer took ${tookMs} ms, at most ${longestMs} ms are promised`]
}

/** Finds processes that do not run, or are not ready within this time. */
export async function findUnready(world: World, timeoutMs: number): Promise<string[]> {
  const found = await Promise.all([
    ...servicesOf(world).map((service) => service.untilReady().then(() => undefined, String)),
    ...world.urls.map((url) => whyNotReady(url, timeoutMs)),
  ])
  return found.flatMap((why) => (why ? [`not ready at the end: ${why}`] : []))
}

/** The last answer of a receiver that is not ready in time; undefined: it is ready. */
async function whyNotReady(url: string, timeoutMs: number): Promise<string | undefined> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const { status, text } = await readReadiness(url).catch((err: unknown) => ({
      status: 0,
      text: String(err),
    }))
    if (status === 200) return undefined
    if (performance.now() > deadline) return `${url}: ${status} ${text}`
    await sleep(POLL_MS)
  }
}
