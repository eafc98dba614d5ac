import type { Result } from './results.ts'
export function drawChart(_results: readonly Result[]): string {
  return ''
}
