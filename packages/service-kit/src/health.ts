/**
 * Health pages of a service. Liveness says that the process answers; readiness asks each part and says which one is
 * not ready and why. Neither shows a secret; both are for operators and orchestrators.
 */
import type { PeriodicLoop } from './periodic.js';
import type { Registry } from './metrics.js';
import type { Route } from './http.js';
import { withinMs } from './lifecycle.js';
import { messageOf } from './errors.js';

export interface HealthReport {
  ready: boolean;
  /** Fields that an operator reads. */
  detail?: unknown;
}

export type HealthChecks = Readonly<Record<string, () => Promise<HealthReport> | HealthReport>>;

export function healthRoutes(checks: HealthChecks, registry: Registry): Route[] {
  return [
    {
      method: 'get',
      path: '/health/live',
      permission: 'public',
      handler: ({ response }) => void response.json({ live: true }),
    },
    {
      method: 'get',
      path: '/health/ready',
      permission: 'public',
      handler: async ({ response }) => {
        const report = await readiness(checks);
        response.status(report.ready ? 200 : 503).json(report);
      },
    },
    {
      method: 'get',
      path: '/metrics',
      permission: 'public',
      handler: async ({ response }) => {
        response.type(registry.contentType).send(await registry.metrics());
      },
    },
  ];
}

export async function readiness(
  checks: HealthChecks,
): Promise<{ ready: boolean; parts: Record<string, HealthReport> }> {
  const parts = await Promise.all(
    Object.entries(checks).map(async ([name, check]) => [name, await answerOf(check)] as const),
  );
  return { ready: parts.every(([, report]) => report.ready), parts: Object.fromEntries(parts) };
}

async function answerOf(check: HealthChecks[string]): Promise<HealthReport> {
  try {
    return await withinMs(4_000, Promise.resolve(check()));
  } catch (error) {
    return { ready: false, detail: messageOf(error) };
  }
}

/** Not ready while any loop is behind. */
export function loopsHealth(loops: readonly PeriodicLoop[]): HealthReport {
  const reports = loops.map((loop) => loop.health());
  return { ready: reports.every((report) => !report.behind), detail: reports };
}
