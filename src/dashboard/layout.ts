/** The HTML around every page. No script and no inline style: the content security policy allows neither. */
import { type Html, html } from './html.ts'
import type { NavigationLink } from './navigation.ts'

export type LayoutContent = { title: string; body: Html; navigation: readonly NavigationLink[] }

export function renderLayout({ title, body, navigation }: LayoutContent): string {
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
${navigation.map(
  ({ path, label }) => html`<li><a href="${path}">${label}</a></li>
`,
)}</ul>
</nav>
</header>
<main id="content" tabindex="-1">
${body}
</main>
</body>
</html>
`.text
}
