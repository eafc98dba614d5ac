import { expect, test } from 'vitest'
import { renderProviderErrorsPage } from '../support/provider-errors-page.ts'

test('docs/provider-errors.md says what the tables say', async () => {
  await expect(renderProviderErrorsPage()).toMatchFileSnapshot('../../docs/provider-errors.md')
})
