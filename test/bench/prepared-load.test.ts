import { createHmac } from 'node:crypto'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { prepareLoad, type Stretch } from '../../bench/load/prepared-load.ts'
import { type Requests, readRequestFiles } from '../../bench/load/request-files.ts'
import { type WorkloadName, workloadNamed } from '../../bench/workloads.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

const SECRET = 'test-secret'

function prepare(name: WorkloadName, events = [12, 40]): { requests: Requests; stretches: Stretch[] } {
  const file = path.join(createTempDirectory(), 'requests')
  const workload = workloadNamed(name)
  const stretches = prepareLoad({ workload, path: file, appSecret: SECRET, events, edition: 0 })
  return { requests: readRequestFiles(file), stretches }
}

function textsOf({ from, to }: Stretch, requests: Requests): string[] {
  return Array.from({ length: to - from }, (_, index) => requests.at(from + index).toString())
}

function everything({ from, to }: Stretch) {
  return { sent: to - from, refused: [] }
}

describe('prepareLoad', () => {
  test('signs every request as Meta does, with its length', () => {
    const { requests, stretches } = prepare('mix')

    for (const text of stretches.flatMap((stretch) => textsOf(stretch, requests))) {
      const [head = '', body = ''] = text.split('\r\n\r\n')
      const digest = createHmac('sha256', SECRET).update(body).digest('hex')
      expect(head).toContain(`X-Hub-Signature-256: sha256=${digest}`)
      expect(head).toContain(`Content-Length: ${Buffer.byteLength(body)}`)
    }
  })

  test('names every event that the requests hold, and no other', () => {
    const { requests, stretches } = prepare('batch10')
    const [, main] = stretches

    const acknowledged = main!.acknowledged(everything(main!))

    expect(acknowledged).toMatchObject({ events: 40, count: 40 })
    const bodies = textsOf(main!, requests).join('\n')
    expect(textsOf(main!, requests)).toHaveLength(4)
    for (const { wa_message_id } of acknowledged.keys()) expect(bodies).toContain(`"${wa_message_id}"`)
  })

  test('keeps the ids of its stretches apart', () => {
    const { stretches } = prepare('single')

    const ids = stretches.flatMap((stretch) => stretch.acknowledged(everything(stretch)).keys())

    expect(new Set(ids.map(({ wa_message_id }) => wa_message_id)).size).toBe(52)
  })

  test('redelivers half of the webhooks of redelivery50, and counts their events once', () => {
    const { requests, stretches } = prepare('redelivery50')
    const [, main] = stretches

    const acknowledged = main!.acknowledged(everything(main!))

    // The last one is a first delivery, so that behind it is nothing.
    expect(new Set(textsOf(main!, requests)).size * 2).toBe(main!.to - main!.from + 1)
    expect(acknowledged).toMatchObject({ events: 79, count: 40 })
  })

  test('has three statuses to one message in mix, each about a message that was sent', () => {
    const { stretches } = prepare('mix')
    const [, main] = stretches

    const keys = main!.acknowledged(everything(main!)).keys()

    const statuses = keys.filter(({ kind }) => kind === 'status')
    expect(statuses).toHaveLength(30)
    expect(main!.sentMessageIds().sort()).toEqual(
      [...new Set(statuses.map((key) => key.wa_message_id))].sort(),
    )
  })

  test('leaves out what was refused, and what was not sent', () => {
    const { stretches } = prepare('single')
    const [, main] = stretches

    const acknowledged = main!.acknowledged({ sent: 10, refused: [main!.from, main!.from + 3] })

    expect(acknowledged.count).toBe(8)
    expect(acknowledged.keys(3)).toEqual(acknowledged.keys().slice(-3))
  })
})
