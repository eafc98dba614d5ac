/** What a browser shows where something else was wished for. */
import { html } from './html.ts'
import { renderPage } from './layout.ts'

export type ErrorPage = { status: number; title: string; detail: string }

export function renderErrorPage({ status, title, detail }: ErrorPage): string {
  const body = html`<div class="error">
<p class="status">${status}</p>
<h1>${title}</h1>
<p>${detail}</p>
<p><a href="/">Go to the overview</a></p>
</div>`
  return renderPage({ title, body })
}
