/** Prometheus metrics of one service. Each service has its own registry, so that two can live in one process. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

export { Counter, Gauge, Histogram, Registry } from 'prom-client';

export function createRegistry(
  service: string,
  options: { withProcess: boolean } = { withProcess: true },
): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  if (options.withProcess) collectDefaultMetrics({ register: registry });
  return registry;
}

export function counter<const L extends string>(
  registry: Registry,
  name: string,
  help: string,
  labels: L[] = [],
) {
  return new Counter({ name, help, labelNames: labels, registers: [registry] });
}

export function gauge<const L extends string>(
  registry: Registry,
  name: string,
  help: string,
  labels: L[] = [],
) {
  return new Gauge({ name, help, labelNames: labels, registers: [registry] });
}

export function histogram<const L extends string>(
  registry: Registry,
  name: string,
  help: string,
  labels: L[] = [],
  buckets: number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900],
) {
  return new Histogram({ name, help, labelNames: labels, buckets, registers: [registry] });
}
