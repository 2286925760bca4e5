/** Counts of runs, as host applications and their administrators read them; and the list of all runs. */
import type {
  AdminRunsResponse,
  Json,
  MonthlyStatisticsResponse,
  RunningCountResponse,
  RunStatisticsResponse,
} from '@stadion/contracts';
import { Refusal, type Route, type RouteContext } from '@stadion/service-kit';
import { monthOf } from '../calendar.js';
import type { Listed, Page, RunFilter, RunSummary } from '../tasks/run-history.js';
import type { MonthlyQuery, MonthlyTotal, Payer, RunTotal, RunTotalsQuery } from '../tasks/run-statistics.js';
import { payerOf } from '../tasks/task.js';
import { hostTime, sendHostJson } from './host-format.js';
import { adminWording, HostQuery, plainWording } from './host-query.js';
import { hostRunSummaryOf } from './host-run.js';

export interface StatisticsActions {
  /** Today in the operator's time zone. */
  today(): Promise<string>;
  countChargedRuns(payer: Payer, month: string): Promise<number>;
  monthlyTotals(query: MonthlyQuery): Promise<Listed<MonthlyTotal>>;
  runTotals(query: RunTotalsQuery): Promise<Listed<RunTotal>>;
  listRuns(filter: RunFilter, page: Page): Promise<Listed<RunSummary>>;
}

const monthlyPage = { usual: 25, most: 1_000 };
const adminPage = { usual: 100, most: 1_000 };

export function statisticsRoutes(actions: StatisticsActions, { timeZone }: { timeZone: string }): Route[] {
  const formatTime = hostTime(timeZone);
  const thisMonth = async () => monthOf(await actions.today());

  return [
    {
      method: 'get',
      path: '/scripts-running-count/',
      permission: 'host',
      refusals: 'text',
      handler: async ({ request, response }) => {
        const query = new HostQuery(request, plainWording);
        const owner = query.text('username');
        if (owner === undefined && query.text('org_id') === undefined) {
          throw query.invalid('username or org_id');
        }
        const month = query.month('month');
        const orgId = query.integer('org_id', 0, Number.MAX_SAFE_INTEGER);
        const payer = orgId === undefined ? payerOf({ owner: owner ?? '', orgId: null }) : { orgId };
        const count = payer ? await actions.countChargedRuns(payer, month ?? (await thisMonth())) : 0;
        sendHostJson(response, { count } satisfies RunningCountResponse);
      },
    },
    ...(['user', 'org', 'base'] as const).map((by): Route => ({
      method: 'get',
      path: `/admin/statistics/scripts-running/by-${by}/`,
      permission: 'host',
      refusals: 'text',
      handler: async ({ request, response }) => {
        const query = new HostQuery(request, plainWording);
        const wish = { by, ...orderOf(query), ...query.page(monthlyPage) };
        const month = query.month('month') ?? (await thisMonth());
        const { count, items } = await actions.monthlyTotals({ ...wish, month });
        sendHostJson(response, {
          count,
          month,
          results: items.map((item) => ({
            [monthlyNames[by]]: item.of,
            total_run_count: item.chargedCount,
            total_run_time: wholeSeconds(item.runTimeUs),
          })),
        } satisfies MonthlyStatisticsResponse);
      },
    })),
    ...(['base', 'day'] as const).map((by): Route => ({
      method: 'get',
      path: `/admin/statistics/by-${by}/`,
      permission: 'host',
      refusals: 'text',
      handler: withJsonErrors(async ({ request, response }) => {
        const query = new HostQuery(request, adminWording);
        const orgId = query.required('org_id', query.orgId('org_id'));
        const { count, items } = await actions.runTotals({
          by,
          orgId,
          baseUuid: query.text('base_uuid'),
          fromDay: query.span('start', timeZone)?.day,
          toDay: query.span('end', timeZone)?.day,
          ...query.page(adminPage),
        });
        sendHostJson(response, {
          results: items.map((item) => ({
            [by === 'base' ? 'base_uuid' : 'date']: item.of,
            number_of_runs: item.runCount,
            successful_runs: item.successCount,
            unsuccessful_runs: item.runCount - item.successCount,
            total_run_time: wholeSeconds(item.runTimeUs),
            triggered_manually: item.manualCount,
            triggered_by_automation_rule: item.automationCount,
          })),
          total_count: count,
        } satisfies RunStatisticsResponse);
      }),
    })),
    {
      method: 'get',
      path: '/admin/runs/',
      permission: 'host',
      refusals: 'text',
      handler: withJsonErrors(async ({ request, response }) => {
        const query = new HostQuery(request, adminWording);
        const filter: RunFilter = {
          orgId: query.orgId('org_id'),
          baseUuid: query.text('base_uuid'),
          from: query.span('start', timeZone)?.from,
          until: query.span('end', timeZone)?.until,
        };
        const { count, items } = await actions.listRuns(filter, query.page(adminPage));
        sendHostJson(response, {
          runs: items.map((run) => hostRunSummaryOf(run, formatTime)),
          total_count: count,
        } satisfies AdminRunsResponse);
      }),
    },
  ];
}

const monthlyNames = { user: 'username', org: 'org_id', base: 'base_uuid' } as const;

/**
 * `order_by=-total_run_time`, as one version of the original has it, or `order_by=total_run_time&direction=desc`, as the
 * other does. Without an order, those with the most runs come first.
 */
function orderOf(query: HostQuery): Pick<MonthlyQuery, 'orderBy' | 'descending'> {
  const order = query.text('order_by');
  const direction = query.choice('direction', ['asc', 'desc']);
  if (order === undefined) return { orderBy: 'count', descending: direction !== 'asc' };
  const column = order.replace(/^-/, '');
  if (column !== 'total_run_time' && column !== 'total_run_count') throw query.invalid('order_by');
  return {
    orderBy: column === 'total_run_time' ? 'time' : 'count',
    descending: order !== column || direction === 'desc',
  };
}

function wholeSeconds(us: number): number {
  return Math.floor(us / 1e6);
}

type Handler = (context: RouteContext) => Promise<void>;

/** These routes complain as `{"error": "…"}`. */
function withJsonErrors(handler: Handler): Handler {
  return async (context) => {
    try {
      await handler(context);
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== 'invalid_field') throw error;
      sendHostJson(context.response, { error: error.message } satisfies Json, error.status);
    }
  };
}
