/**
 * The one table of a task's moves. The guards in `store/`, the tests and the diagram in the docs are read from it;
 * nobody else decides which state may follow which. Forward only, but for one mercy: a result that proves a `lost`
 * attempt alive after all still counts.
 */
import type { TaskState } from '@stadion/contracts';

interface Move {
  readonly from: readonly TaskState[];
  readonly to: readonly TaskState[];
}

export const moves = {
  /** A claim gave the task to a starter. */
  assign: { from: ['queued'], to: ['starting'] },
  /** The starter refused the attempt, or proved that it never started it. */
  release: { from: ['starting'], to: ['queued'] },
  /** The starter says that the script runs. */
  begin: { from: ['starting'], to: ['running'] },
  /** The attempt's own result: it may overtake the running report, and it knows better than `lost`. */
  finish: { from: ['starting', 'running', 'lost'], to: ['succeeded', 'failed', 'timed_out'] },
  /** The scheduler ends what its starter should have ended long ago. */
  expire: { from: ['starting', 'running'], to: ['timed_out'] },
  /** The starter is gone, or does not know the attempt. */
  lose: { from: ['starting', 'running'], to: ['lost'] },
  /** It cannot be run at all, for example because the host application has no such script. */
  refuse: { from: ['queued', 'starting'], to: ['failed'] },
} as const satisfies Record<string, Move>;

export type MoveName = keyof typeof moves;
export const moveNames = Object.keys(moves) as MoveName[];

/** The states that a move may end in, as a type. */
export type EndOf<Name extends MoveName> = (typeof moves)[Name]['to'][number];

/**
 * What became of a move. `wrong_state`: the task is elsewhere by now, or it is another attempt's; trying again will
 * not help. `unknown_task`: there is no such task, or there is no more.
 */
export type Outcome = 'moved' | 'wrong_state' | 'unknown_task';

/** States in which a starter is, as far as we know, busy with the task. */
export const inFlightStates = ['starting', 'running'] as const satisfies TaskState[];

export function mayMove(name: MoveName, from: TaskState, to?: TaskState): boolean {
  const move: Move = moves[name];
  return move.from.includes(from) && (to === undefined || move.to.includes(to));
}
