/** The start page: totals, and the number of waiting jobs. */
import { withDeadline } from '../core/deadline.ts'
import { type Html, html } from './html.ts'
import type { Page, PageDeps, Totals } from './page.ts'

const READ_TIMEOUT_MS = 2_000

export const overviewPage: Page = {
  path: '/',
  title: 'Overview',
  access: 'admin',
  render: renderOverview,
}

async function renderOverview(deps: Pick<PageDeps, 'totals' | 'waitingJobs'>): Promise<Html> {
  const [totals, waitingJobs] = await Promise.all([
    orUndefined(deps.totals(), 'Reading the totals'),
    orUndefined(deps.waitingJobs(), 'Counting waiting jobs'),
  ])
  return html`<h1>Overview</h1>
${totals === undefined ? totalsUnavailable : ''}${waitingJobs === undefined ? jobsUnavailable : ''}
${totals?.received === 0 ? firstSteps : ''}
<p>Totals since the database was made.</p>
<dl class="tiles">
${tile('Received', totals?.received, 'Events in webhooks, redeliveries included.')}
${tile('Stored', totals?.stored, 'Rows written, each exactly once.')}
${tile('Duplicates caught', duplicatesOf(totals), duplicatesNote(totals))}
${tile('Merged', totals?.merged, 'A later copy knew more than the row and completed it.')}
${tile('Parked', totals?.parked, parkedNote(totals))}
${tile('Waiting right now', waitingJobs, 'Events on the queue that no worker has taken yet.')}
</dl>`
}

/** A store that does not answer costs only its own figures: the page shows the others. /health/ready says why. */
function orUndefined<T>(value: Promise<T>, task: string): Promise<T | undefined> {
  return withDeadline(value, READ_TIMEOUT_MS, task).catch(() => undefined)
}

const NUMBER = new Intl.NumberFormat('en-US')

function tile(name: string, value: number | undefined, note: string): Html {
  const shown = value === undefined ? html`<span aria-label="not available">–</span>` : NUMBER.format(value)
  return html`<div class="tile"><dt>${name}</dt><dd class="value">${shown}</dd><dd class="note">${note}</dd></div>`
}

function duplicatesOf(totals: Totals | undefined): number | undefined {
  return totals && totals.duplicates.queue + totals.duplicates.database
}

function duplicatesNote(totals: Totals | undefined): string {
  if (totals === undefined) return 'Redeliveries that changed nothing.'
  const { queue, database } = totals.duplicates
  return `${NUMBER.format(database)} by the database, about ${NUMBER.format(queue)} by the queue.`
}

function parkedNote(totals: Totals | undefined): string {
  return totals !== undefined && totals.parked > 0
    ? 'Kept whole, with the reason, in webhook_events. Look at them, then run wa-ingest reprocess.'
    : 'Events that could not be understood would be kept here.'
}

const totalsUnavailable = html`<p class="notice" role="status">The totals cannot be read right now. <a href="/health/ready">Health</a> says why.</p>
`
const jobsUnavailable = html`<p class="notice" role="status">The queue does not answer right now. <a href="/health/ready">Health</a> says why.</p>
`
const firstSteps = html`<p class="notice" role="status">No webhook has arrived yet. Send some that are signed like the real ones: <code>npx wa-ingest simulate</code></p>
`
