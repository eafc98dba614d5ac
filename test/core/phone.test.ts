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

  test.each([
    ['Brazil', '5521996661234', '552196661234'],
    ['Brazil, the lowest mobile number', '5511960000000', '551160000000'],
    ['Brazil, the highest', '5599999999999', '559999999999'],
    ['Mexico', '5215599990000', '525599990000'],
    ['Argentina', '5493415550123', '543415550123'],
  ])('the short spelling in %s is the key', (_country, long, short) => {
    expect([phoneKey(long), phoneKey(short)]).toEqual([short, short])
  })

  test.each([
    ['a Brazilian landline with a 9 in front', '5511956781234'],
    ['a digit more than a Brazilian mobile number', '55119876501234'],
    ['a digit less than a Brazilian mobile number', '551198765012'],
    ['a digit more than a Mexican number', '52155501234567'],
    ['a digit less than a Mexican number', '521555012345'],
    ['a digit more than an Argentinian number', '54911555012345'],
    ['a digit less than an Argentinian number', '549115550123'],
    ['a number that only ends like a Brazilian one', '515511987650123'],
    ['a number that only ends like a Mexican one', '515215550123456'],
    ['a number that only ends like an Argentinian one', '515491155501234'],
    ['another country that begins with 5', '51987654321'],
  ])('leaves %s as it is', (_what, digits) => {
    expect(phoneKey(digits)).toBe(digits)
  })

  test.each(['', '5', '15550001234', '551133334444', '4915555501234'])('leaves %s as it is', (digits) => {
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
    ['123', '123'],
    ['1'.repeat(32), '1'.repeat(32)],
    ['1'.repeat(33), undefined],
    [`+${'1'.repeat(33)}`, undefined],
    ['WhatsApp:15550001234', '15550001234'],
    ['+1.555.000.1234', '15550001234'],
    ['1555\t000\u00a01234', '15550001234'],
    ['whatsapp:', undefined],
    ['+15550001234 whatsapp:', undefined],
    ['tel:15550001234', undefined],
    ['15550001234x', undefined],
    ['x15550001234', undefined],
  ])('reads %j as %j', (text, digits) => {
    expect(phoneDigits(text)).toBe(digits)
  })
})
