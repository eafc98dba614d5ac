/**
 * Liveness and readiness.
 *
 * Live: the event loop runs. No dependency is checked, because a restart repairs none. Ready: the dependencies answer.
 * Clients without the password or a token see only yes or no. The result of one run of the checks is used for a second,
 * so that many probes do not load the stores.
 */
import type { Request, RequestHandler } from 'express'
import { createSingleFlight } from './single-flight.ts'

const CHECK_TIMEOUT_MS = 1_000
const CACHE_MS = 1_000

export type CheckResult = {
  ok: boolean
  /**
   * Faults and unsafe settings, one sentence each with the next step; only the admin sees them. A passed check may have
   * some.
   */
  findings?: readonly string[]
}

export type HealthCheck = {
  /** A dependency or a group of settings: `database`, `queue`, `settings`. */
  name: string
  /** A rejection, or no answer within a second, counts as `{ ok: false }`. */
  check: () => Promise<CheckResult>
}

export type CheckReport = { name: string; ok: boolean; findings: readonly string[]; duration_ms: number }

export type HealthDeps = {
  checks: readonly HealthCheck[]
  /** Whether the process can do its work. Default: every check is ok. A receiver, for example, needs only one store. */
  isReady?: (reports: readonly CheckReport[]) => boolean
  /** Whether the client may see the reports. */
  isAdmin: (req: Request) => boolean
  /** A monotonic clock in milliseconds. */
  now?: () => number
}

export type Health = { live: RequestHandler; ready: RequestHandler }

export function createHealth(deps: HealthDeps): Health {
  const { isReady = everyCheckIsOk, now = () => performance.now() } = deps
  const readReports = cachedFor(CACHE_MS, now, runTogether(deps.checks, now))

  return {
    live: (_req, res) => {
      res.set('Cache-Control', 'no-store').json({ status: 'ok' })
    },
    ready: async (req, res) => {
      const isInsider = deps.isAdmin(req)
      const reports = await readReports()
      const ready = isReady(reports)
      const status = ready ? 'ok' : 'unavailable'
      res.status(ready ? 200 : 503).set('Cache-Control', 'no-store')
      res.json(isInsider ? { status, checks: reports } : { status })
    },
  }
}

function everyCheckIsOk(reports: readonly CheckReport[]): boolean {
  return reports.every((report) => report.ok)
}

function runTogether(checks: readonly HealthCheck[], now: () => number): () => Promise<CheckReport[]> {
  const reporters = checks.map((check) => createReporter(check, now))
  return () => Promise.all(reporters.map((report) => report()))
}

function createReporter({ name, check }: HealthCheck, now: () => number): () => Promise<CheckReport> {
  const runCheck = createSingleFlight({
    call: check,
    timeoutMs: CHECK_TIMEOUT_MS,
    task: `The check "${name}"`,
  })
  return async () => {
    const startedAt = now()
    const { ok, findings = [] } = await runCheck().catch(failedCheck)
    return { name, ok, findings, duration_ms: Math.round(now() - startedAt) }
  }
}

function failedCheck(err: unknown): CheckResult {
  return { ok: false, findings: [err instanceof Error ? err.message : String(err)] }
}

/** Calls during a read share it; calls within `cacheMs` after its end get the same result. */
function cachedFor<T>(cacheMs: number, now: () => number, read: () => Promise<T>): () => Promise<T> {
  let current: Promise<T> | undefined
  let freshUntil = Number.POSITIVE_INFINITY

  async function readAnew(): Promise<T> {
    try {
      return await read()
    } finally {
      freshUntil = now() + cacheMs
    }
  }

  return () => {
    if (current === undefined || now() >= freshUntil) {
      freshUntil = Number.POSITIVE_INFINITY
      current = readAnew()
    }
    return current
  }
}
