/** CPU time and memory of each process of a contender. */
import { cpuMsOf, cpuMsOfServer, residentBytesOf } from '../../rig/process-times.ts'

export const PARTS = ['receiver', 'worker', 'redis', 'postgres'] as const
export type Part = (typeof PARTS)[number]

/** Milliseconds of CPU; a part that does not exist, or cannot be seen, is absent. */
export type CpuTimes = Partial<Record<Part, number>>

/** Resident memory in MiB: the highest value under load, and the last one right after it. */
export type Memory = { loadMb: number; endMb: number }

const MEMORY_INTERVAL_MS = 200

export type Processes = Partial<Record<Part, number>>

/** `observer`: process ids of the benchmark's own connections to PostgreSQL. They are left out. */
export function readCpuTimes(pids: Processes, observer: ReadonlySet<number>): CpuTimes {
  return present({
    receiver: pids.receiver === undefined ? undefined : cpuMsOf(pids.receiver),
    worker: pids.worker === undefined ? undefined : cpuMsOf(pids.worker),
    redis: pids.redis === undefined ? undefined : cpuMsOfServer(pids.redis),
    postgres: pids.postgres === undefined ? undefined : cpuMsOfServer(pids.postgres, observer),
  })
}

export function cpuBetween(before: CpuTimes, after: CpuTimes): CpuTimes {
  return present(
    Object.fromEntries(
      PARTS.map((part) => {
        const [start, end] = [before[part], after[part]]
        return [part, start === undefined || end === undefined ? undefined : end - start]
      }),
    ),
  )
}

/** The sum over all parts; undefined where none is known. */
export function totalCpu(times: CpuTimes): number | undefined {
  const values = Object.values(times)
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0)
}

/** Samples the memory of a process until the returned function is called. */
export function watchMemory(pid: number | undefined): () => Memory | undefined {
  if (pid === undefined) return () => undefined
  let loadMb = 0
  let endMb: number | undefined
  const look = () => {
    const bytes = residentBytesOf(pid)
    endMb = bytes === undefined ? undefined : bytes / 2 ** 20
    loadMb = Math.max(loadMb, endMb ?? 0)
  }
  const timer = setInterval(look, MEMORY_INTERVAL_MS)
  return () => {
    look()
    clearInterval(timer)
    return endMb === undefined ? undefined : { loadMb, endMb }
  }
}

function present(times: { [part: string]: number | undefined }): CpuTimes {
  return Object.fromEntries(Object.entries(times).filter(([, value]) => value !== undefined))
}
