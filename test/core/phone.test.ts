import { describe, expect, test } from 'vitest'
import { phoneDigits, phoneKey } from '../../src/core/phone.ts'

describe('phoneKey', () => {
  test.each([
    ['Brazil', '5511987650123', '551187650123'],
    ['Mexico', '5215550123456', '525550123456'],
    ['Argentina', '5491155501234', '541155501234'],
  ])('brings both spellings of a mobile number in %s together', (_country, long, short) => {
    expect(phoneKey(long)).toBe(phoneKey(short))
  })

  test.each(['15550001234', '551133334444', '4915555501234'])('leaves %s as it is', (digits) => {
    expect(phoneKey(digits)).toBe(digits)
  })
})

describe('phoneDigits', () => {
  test.each([
    ['whatsapp:+15550001234', '15550001234'],
    ['+1 (555) 000-1234', '15550001234'],
    ['US.1349', undefined],
    ['', undefined],
    ['12', undefined],
  ])('reads %j as %j', (text, digits) => {
    expect(phoneDigits(text)).toBe(digits)
  })
})
