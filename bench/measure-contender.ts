/**
 * One measurement: a contender is warmed up, put under load, and watched until everything that it has acknowledged is
 * stored. Then the auditor counts whether each event is stored once.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { SentLoad } from './load/loader.ts'
import { cpuBetween, readCpuTimes, watchMemory } from './measure/resources.ts'
import type { Measurement, Paced } from './measurement.ts'
import type { Stage } from './stage.ts'

/** The worker still completes the last jobs when their rows are stored. */
const REST_MS = 300
const OUTPUT_SHOWN = 2_000
/** A share of direct's highest rate. */
export const PACED_SHARE = 0.5

/** @throws Error with the end of the processes' output when the contender does not work. */
export async function measureContender(stage: Stage): Promise<Measurement> {
  try {
    await warmUp(stage)
    const measurement = await measure(stage)
    return { ...measurement, paced: await sendPaced(stage, measurement) }
  } catch (cause) {
    throw new Error(describeFailure(cause, stage), { cause })
  }
}

/** Warms up compilers, caches and connections, and gives most customers a conversation. */
async function warmUp(stage: Stage): Promise<void> {
  const { loader, running, load, workload, completion, postgres, onPhase } = stage
  onPhase('warming up')
  const { from, to } = load.warmUp
  const sent = await loader.send({ port: running.port, from, to, connections: workload.connections })
  if (sent.refused.length > 0)
    throw new Error(`${sent.refused.length} webhooks of the warm-up were refused: ${sent.firstRefusal}`)
  await completion.waitForLast(load.warmUp.acknowledged(sent))
  await postgres.checkpoint()
  await sleep(REST_MS)
}

/** Measures the time to an acknowledgement while the contender is not at its limit. */
async function sendPaced(
  { loader, running, load, workload, contender, settings, rate, onPhase }: Stage,
  { webhooks, acknowledgedMs }: Pick<Measurement, 'webhooks' | 'acknowledgedMs'>,
): Promise<Paced | undefined> {
  // The rate is that of direct, so the first measurement of direct uses its own.
  const ownRate = contender.name === 'direct' ? (webhooks / acknowledgedMs) * 1_000 * PACED_SHARE : undefined
  const perSecond = rate ?? ownRate
  if (load.paced === undefined || perSecond === undefined || !contender.stores) return undefined
  onPhase('sending at a fixed rate')
  const { from, to } = load.paced
  const { connections } = workload
  const { seconds } = settings
  const sent = await loader.send({ port: running.port, from, to, connections, seconds, perSecond })
  return { perSecond, ackP50Ms: sent.ackP50Ms, ackP99Ms: sent.ackP99Ms, refused: sent.refused.length }
}

async function measure(stage: Stage): Promise<Omit<Measurement, 'paced'>> {
  const { contender, workload, load, completion, processes, observers, onPhase } = stage
  await stage.statistics?.reset()
  const before = readCpuTimes(processes, observers)
  const memory = { receiver: watchMemory(processes.receiver), worker: watchMemory(processes.worker) }
  const sent = await sendMain(stage)
  const acknowledged = load.main.acknowledged(sent)
  onPhase(`${sent.sent.toLocaleString('en-US')} sent, waiting until all is stored`)
  await completion.waitForLast(acknowledged)
  let storedAt = performance.timeOrigin + performance.now()
  await sleep(REST_MS)
  let after = readCpuTimes(processes, observers)
  const used = { receiver: memory.receiver(), worker: memory.worker() }
  await stage.statistics?.write()
  let verdict = await completion.verify(acknowledged)
  if (verdict.stored < acknowledged.count && contender.stores) {
    await completion.waitForAll(acknowledged)
    storedAt = performance.timeOrigin + performance.now()
    after = readCpuTimes(processes, observers)
    verdict = await completion.verify(acknowledged)
  }
  return {
    contender: contender.name,
    workload: workload.name,
    webhooks: sent.sent - sent.refused.length,
    refused: sent.refused.length,
    firstRefusal: sent.firstRefusal,
    events: acknowledged.events,
    expected: acknowledged.count,
    ...verdict,
    acknowledgedMs: sent.durationMs,
    storedMs: Math.max(storedAt - sent.startedAt, sent.durationMs),
    ackP50Ms: sent.ackP50Ms,
    ackP99Ms: sent.ackP99Ms,
    ackMaxMs: sent.ackMaxMs,
    cpu: cpuBetween(before, after),
    memory: used,
    loader: { cpuMs: sent.loaderCpuMs, busyShare: sent.loaderBusyShare },
  }
}

async function sendMain(stage: Stage): Promise<SentLoad> {
  const { loader, running, load, workload, settings, onPhase } = stage
  const { from, to } = load.main
  const options = { port: running.port, from, to, connections: workload.connections }
  if (workload.load === 'stall') return sendThroughStall(stage, { ...options, perSecond: stage.rate })
  const isCounted = workload.load === 'burst' || settings.messages !== undefined
  const seconds = isCounted ? undefined : settings.seconds
  return loader.send({ ...options, seconds }, (answered) =>
    onPhase(`${answered.toLocaleString('en-US')} webhooks answered`),
  )
}

/** Sends while PostgreSQL is stopped for some seconds. */
async function sendThroughStall(
  { loader, postgres, settings, onPhase }: Stage,
  options: Parameters<Stage['loader']['send']>[0],
): Promise<SentLoad> {
  const [beforeSeconds, stoppedSeconds] = settings.stallSeconds
  const stop = new AbortController()
  const stall = async () => {
    await sleep(beforeSeconds * 1_000, undefined, { signal: stop.signal })
    onPhase('PostgreSQL is stopped')
    postgres.freeze()
    await sleep(stoppedSeconds * 1_000, undefined, { signal: stop.signal })
  }
  try {
    const stalled = stall().finally(() => postgres.thaw())
    const [sent] = await Promise.all([loader.send(options), stalled])
    return sent
  } finally {
    stop.abort()
  }
}

function describeFailure(cause: unknown, { running }: Stage): string {
  const message = cause instanceof Error ? cause.message : String(cause)
  const outputs = [running.receiver, running.worker].map((child) => {
    return child?.output.trim().slice(-OUTPUT_SHOWN) ?? ''
  })
  return [message, ...outputs].filter((text) => text !== '').join('\n')
}
