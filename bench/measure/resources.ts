/** What each process of a contender has used of the machine. */
import { cpuMsOf, cpuMsOfServer, memoryOf } from './process-times.ts'

export const PARTS = ['receiver', 'worker', 'redis', 'postgres'] as const
export type Part = (typeof PARTS)[number]

/** Milliseconds of CPU; a part that does not exist, or cannot be seen, is absent. */
export type CpuTimes = Partial<Record<Part, number>>

export type Memory = { peakMb: number; endMb: number }

export type Processes = Partial<Record<Part, number>>

/** `observer`: the process ids of our own connections to PostgreSQL, which count for nobody. */
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

/** Of all parts; undefined where none can be seen. */
export function totalCpu(times: CpuTimes): number | undefined {
  const values = Object.values(times)
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0)
}

export function readMemory(pid: number | undefined): Memory | undefined {
  const memory = pid === undefined ? undefined : memoryOf(pid)
  return memory && { peakMb: memory.peakMb, endMb: memory.residentMb }
}

function present(times: { [part: string]: number | undefined }): CpuTimes {
  return Object.fromEntries(Object.entries(times).filter(([, value]) => value !== undefined))
}
