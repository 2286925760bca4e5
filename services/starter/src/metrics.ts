/** The starter's figures for Prometheus. */
import type { AttemptCause } from '@stadion/contracts';
import { counter, Gauge, histogram, type Registry } from '@stadion/service-kit';

export interface StarterFigures {
  slots(): number;
  busy(): number;
  queued(): number;
  outbox(): number;
}

export function createStarterMetrics(registry: Registry) {
  const attempts = counter(registry, 'stadion_starter_attempts_total', 'Attempts that ended, by cause.', [
    'cause',
  ]);
  const results = counter(
    registry,
    'stadion_starter_results_total',
    'Results that left the outbox, and how.',
    ['outcome'],
  );
  return {
    attemptEnded: (cause: AttemptCause) => attempts.inc({ cause }),
    resultSettled: (outcome: string) => results.inc({ outcome }),
    fetchSeconds: histogram(registry, 'stadion_starter_script_fetch_seconds', 'Time to download a script.'),
    launchSeconds: histogram(
      registry,
      'stadion_starter_launch_seconds',
      'Time from having a script to its start.',
    ),
    runSeconds: histogram(registry, 'stadion_starter_run_seconds', 'Time that scripts ran.'),
    /** Figures that are looked up when they are asked for. */
    show(figures: StarterFigures) {
      const shown = {
        slots: 'Scripts that may run at once.',
        busy: 'Slots that are taken.',
        queued: 'Accepted attempts that wait for a slot.',
        outbox: 'Results that wait for the acknowledgement of the scheduler.',
      } as const;
      for (const [name, help] of Object.entries(shown) as [keyof StarterFigures, string][]) {
        new Gauge({
          name: `stadion_starter_${name}`,
          help,
          registers: [registry],
          collect() {
            this.set(figures[name]());
          },
        });
      }
    },
  };
}

export type StarterMetrics = ReturnType<typeof createStarterMetrics>;
