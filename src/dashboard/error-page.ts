/** The page that a browser shows when a request failed. */
import { html } from './html.ts'
import type { Layout } from './page.ts'

export type ErrorPage = { status: number; title: string; detail: string }

export function renderErrorPage({ status, title, detail }: ErrorPage, layout: Layout): string {
  const body = html`<div class="error">
<p class="status">${status}</p>
<h1>${title}</h1>
<p>${detail}</p>
<p><a href="/">Go to the overview</a></p>
</div>`
  return layout({ title, body })
}
