import { describe, expect, test } from 'vitest'
import { createCircuit } from '../../src/core/circuit.ts'

function circuitAt() {
  const clock = { now: 5_000 }
  return { clock, circuit: createCircuit({ coolDownMs: 1000, now: () => clock.now }) }
}

describe('createCircuit', () => {
  test('lets every call through until a failure, then none', () => {
    const { circuit } = circuitAt()

    expect([circuit.tryEnter(), circuit.tryEnter(), circuit.isOpen()]).toEqual([true, true, false])
    circuit.fail()
    expect([circuit.tryEnter(), circuit.tryEnter(), circuit.isOpen()]).toEqual([false, false, true])
  })

  test('lets one trial through after the cool-down, and every call once it succeeded', () => {
    const { circuit, clock } = circuitAt()
    circuit.fail()
    clock.now += 999
    expect(circuit.tryEnter()).toBe(false)
    clock.now += 1

    expect([circuit.tryEnter(), circuit.tryEnter(), circuit.isOpen()]).toEqual([true, false, true])
    circuit.succeed()
    expect([circuit.tryEnter(), circuit.tryEnter(), circuit.isOpen()]).toEqual([true, true, false])
  })

  test('stays open for another cool-down from the failure of the trial on', () => {
    const { circuit, clock } = circuitAt()
    circuit.fail()
    clock.now += 1000
    circuit.tryEnter()
    clock.now += 500
    circuit.fail()

    clock.now += 999
    expect(circuit.tryEnter()).toBe(false)
    clock.now += 1
    expect(circuit.tryEnter()).toBe(true)
  })

  test('lets another trial through after a cool-down in which the first did not report', () => {
    const { circuit, clock } = circuitAt()
    circuit.fail()
    clock.now += 1500
    circuit.tryEnter()

    clock.now += 999
    expect(circuit.tryEnter()).toBe(false)
    clock.now += 1
    expect([circuit.tryEnter(), circuit.tryEnter()]).toEqual([true, false])
  })

  test.each([
    ['an hour', 3_600_000, false],
    ['no time', 0, true],
  ])('takes the time from the clock of the process: after %s', (_what, coolDownMs, isLetThrough) => {
    const circuit = createCircuit({ coolDownMs })
    circuit.fail()

    expect(circuit.tryEnter()).toBe(isLetThrough)
  })
})
