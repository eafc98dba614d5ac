import { describe, expect, test } from 'vitest'
import { signLikeMeta } from '../../../src/cli/simulate/meta-webhook.ts'
import {
  createTraffic,
  type EventKey,
  type Traffic,
  type TrafficSettings,
} from '../../../src/cli/simulate/traffic.ts'
import type { Fact } from '../../../src/core/fact.ts'
import { normalizeMeta } from '../../../src/providers/meta/normalize.ts'
import { providerWith } from '../../support/providers.ts'

describe('a simulated webhook', () => {
  test('is authentic and understood by the service, to the last message', () => {
    const traffic = trafficOf({ messages: 500 })
    const provider = providerWith('meta', { META_APP_SECRET: 'secret' })

    for (let webhook = 0; webhook < traffic.webhookCount; webhook++) {
      const rawBody = traffic.body(webhook)
      const headers = { 'x-hub-signature-256': signLikeMeta(rawBody, 'secret') }
      const received = { rawBody, headers, url: '/webhooks/meta', received_at: 0 }
      const jobs = provider.parse(received)

      expect(provider.isAuthentic(received)).toBe(true)
      const facts = jobs.map(({ event }) => normalizeMeta(event))
      expect(facts.map(nameOf).sort()).toEqual(keysOf(traffic, webhook).map(nameOf).sort())
    }
  })

  test('is escaped as Meta does: ASCII only, lower-case \\u, and the slash', () => {
    const bodies = bodiesOf(trafficOf({ messages: 200 })).join('')

    expect(bodies).toMatch(/^[\x20-\x7e]*$/)
    expect(bodies).toMatch(/\\u00e3/)
    expect(bodies).toMatch(/\\ud83d\\ude42/)
    expect(bodies).not.toMatch(/\\u(?![0-9a-f]{4})/)
    expect(bodies).toContain('https:\\/\\/example.com\\/account\\/invoices')
  })

  test('writes only to and from numbers of the 555 range', () => {
    const bodies = bodiesOf(trafficOf({ messages: 300 })).join('')

    const numbers = bodies.match(/"(?:from|wa_id|recipient_id|display_phone_number)":"\d+"/g) ?? []
    expect(numbers.length).toBeGreaterThan(300)
    expect(numbers.filter((number) => !/"1555\d{7}"$/.test(number))).toEqual([])
  })

  test('comes also from people who hide their number', () => {
    const bodies = bodiesOf(trafficOf({ messages: 300, conversations: 50 }))

    expect(bodies.some((body) => body.includes('"username"'))).toBe(true)
  })
})

describe('message ids', () => {
  test('never repeat, within a run or in another run of the same seed', () => {
    const first = allKeys(trafficOf({ messages: 1_000, run: '0000000a' }))
    const second = allKeys(trafficOf({ messages: 1_000, run: '0000000b' }))

    const names = [...first, ...second].map((key) => JSON.stringify(key))
    expect(new Set(names).size).toBe(2 * 1_300)
  })

  test('have the form of WhatsApp ids, with the phone of the person inside', () => {
    const traffic = trafficOf({ messages: 50 })

    const ids = allKeys(traffic).map(({ wa_message_id }) => wa_message_id)
    expect(ids.filter((id) => !/^wamid\.HBg[A-Za-z0-9+/]+=*$/.test(id))).toEqual([])
    const phones = ids.map((id) => Buffer.from(id.slice('wamid.'.length), 'base64').toString('latin1', 3, 14))
    expect(phones.filter((phone) => /^1555\d{7}$/.test(phone)).length).toBeGreaterThan(40)
  })
})

describe('statuses', () => {
  test('are sent, delivered and read of each message, in any order', () => {
    const traffic = trafficOf({ messages: 1_000, statuses: 300 })

    const byMessage = new Map<string, string[]>()
    for (const key of allKeys(traffic)) {
      if (key.kind !== 'status') continue
      byMessage.set(key.wa_message_id, [...(byMessage.get(key.wa_message_id) ?? []), key.status])
    }
    expect(byMessage.size).toBe(100)
    const orders = new Set([...byMessage.values()].map((words) => words.join(' ')))
    expect([...byMessage.values()].map((words) => words.sort().join(' '))).toEqual(
      Array(100).fill('delivered read sent'),
    )
    expect(orders.size).toBe(6)
  })
})

describe('the order of sending', () => {
  test('has every webhook, the first time before any redelivery', () => {
    const traffic = trafficOf({ messages: 2_000, redeliveries: 0.7 })

    const seen = new Set<number>()
    for (const { webhook, isRedelivery } of deliveriesOf(traffic)) {
      expect(seen.has(webhook)).toBe(isRedelivery)
      seen.add(webhook)
    }
    expect(seen.size).toBe(traffic.webhookCount)
  })

  test('repeats the share that was asked for, some at once and some much later', () => {
    const traffic = trafficOf({ messages: 5_000, batch: 1, redeliveries: 0.3 })

    const again = deliveriesOf(traffic).flatMap(({ webhook, isRedelivery }, position) =>
      isRedelivery ? [position - webhook * 1.3] : [],
    )
    expect(again.length / traffic.webhookCount).toBeCloseTo(0.3, 1)
    expect(again.filter((distance) => distance < 100).length).toBeGreaterThan(again.length / 5)
    expect(again.filter((distance) => distance > 1_000).length).toBeGreaterThan(again.length / 10)
  })

  test('ends with a webhook that was not sent before', () => {
    for (let seed = 0; seed < 50; seed++) {
      expect(
        deliveriesOf(trafficOf({ messages: 20, batch: 5, redeliveries: 3, seed })).at(-1)?.isRedelivery,
      ).toBe(false)
    }
  })

  test('carries single messages and batches unless told otherwise', () => {
    const traffic = trafficOf({ messages: 2_000 })

    const sizes = Array.from(
      { length: traffic.webhookCount },
      (_, webhook) => traffic.eventsOf(webhook).length,
    )
    expect(sizes.filter((size) => size === 1).length / sizes.length).toBeCloseTo(0.6, 1)
    expect(Math.max(...sizes)).toBeGreaterThan(20)
  })
})

function trafficOf(settings: Partial<TrafficSettings> & { messages: number }): Traffic {
  return createTraffic({
    statuses: Math.round(settings.messages * 0.3),
    redeliveries: 0.3,
    seed: 1,
    imageShare: 0.2,
    conversations: 100,
    run: '1a2b3c4d',
    startedAt: Date.UTC(2026, 0, 2),
    ...settings,
  })
}

function bodiesOf(traffic: Traffic): string[] {
  return Array.from({ length: traffic.webhookCount }, (_, webhook) => traffic.body(webhook).toString())
}

function deliveriesOf(traffic: Traffic) {
  return Array.from({ length: traffic.deliveryCount }, (_, position) => traffic.deliveryAt(position))
}

function allKeys(traffic: Traffic) {
  return Array.from({ length: traffic.webhookCount }, (_, webhook) => webhook).flatMap((webhook) =>
    keysOf(traffic, webhook),
  )
}

function keysOf(traffic: Traffic, webhook: number) {
  return Array.from(traffic.eventsOf(webhook), traffic.key)
}

function nameOf(event: Fact | EventKey): string {
  return JSON.stringify([
    event.kind,
    'wa_message_id' in event && event.wa_message_id,
    event.kind === 'status' && event.status,
  ])
}
