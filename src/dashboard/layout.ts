/** The frame of every page. No script and no inline style: the content security policy allows neither. */
import { type Html, html } from './html.ts'

export type Page = { title: string; body: Html }

export function renderPage({ title, body }: Page): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title} · wa-ingest</title>
<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/assets/dashboard.css">
</head>
<body>
<a class="skip" href="#content">Skip to content</a>
<header class="bar">
<a class="brand" href="/"><img src="/assets/icon.svg" alt="" width="24" height="24">wa-ingest</a>
<nav aria-label="Main">
<ul>
<li><a href="/queues">Queues</a></li>
<li><a href="/health/ready">Health</a></li>
<li><a href="/metrics">Metrics</a></li>
</ul>
</nav>
</header>
<main id="content" tabindex="-1">
${body}
</main>
</body>
</html>
`.text
}
