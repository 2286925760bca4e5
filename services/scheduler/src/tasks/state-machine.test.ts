import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { finalStates, isFinal, taskStates, type TaskState } from '@stadion/contracts';
import fc from 'fast-check';
import { inFlightStates, mayMove, moveNames, moves, type MoveName } from './state-machine.js';

const anyEvent = fc
  .constantFrom<MoveName>(...moveNames)
  .chain((name) => fc.record({ name: fc.constant(name), to: fc.constantFrom<TaskState>(...moves[name].to) }));

describe('the state machine', () => {
  test('whatever events come in whatever order, a final state is left only from lost, and only for a result', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 40 }), (events) => {
        let state: TaskState = 'queued';
        for (const { name, to } of events) {
          if (!mayMove(name, state, to)) continue;
          if (isFinal(state)) {
            expect({ name, from: state }).toEqual({ name: 'finish', from: 'lost' });
            expect(isFinal(to)).toBe(true);
            expect(to).not.toBe('lost');
          }
          state = to;
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('a task goes back only from starting to queued', () => {
    const rank: Record<TaskState, number> = {
      queued: 0,
      starting: 1,
      running: 2,
      lost: 3,
      succeeded: 4,
      failed: 4,
      timed_out: 4,
      cancelled: 4,
    };
    const backward = moveNames.flatMap((name) =>
      moves[name].from.flatMap((from) =>
        moves[name].to.filter((to) => rank[to] <= rank[from]).map((to) => [name, from, to]),
      ),
    );
    expect(backward).toEqual([['release', 'starting', 'queued']]);
  });

  test('every state that is not final has a way to a final one', () => {
    for (const state of taskStates.filter((each) => !isFinal(each))) {
      const ends = moveNames
        .filter((name) => mayMove(name, state))
        .flatMap((name): TaskState[] => [...moves[name].to]);
      expect(ends.some(isFinal)).toBe(true);
    }
  });

  test('a queued task can neither finish, expire nor be lost: nothing ran yet', () => {
    expect(moveNames.filter((name) => mayMove(name, 'queued'))).toEqual(['assign', 'refuse']);
  });

  test('what is in flight is neither queued nor final', () => {
    expect(taskStates.filter((state) => state !== 'queued' && !isFinal(state))).toEqual(inFlightStates);
    expect(finalStates).not.toContain('running');
  });
});

test('the diagram in ARCHITECTURE.md shows the moves of this table and no others', () => {
  const page = readFileSync(join(process.cwd(), 'ARCHITECTURE.md'), 'utf8');
  const drawn = [...page.matchAll(/^ {2}(\w+) --> (\w+): (\w+)$/gm)].map(
    ([, from, to, name]) => `${from} ${name} ${to}`,
  );
  const tabled = moveNames.flatMap((name) => {
    const { from, to }: { from: readonly string[]; to: readonly string[] } = moves[name];
    return from.flatMap((one) => to.map((other) => `${one} ${name} ${other}`));
  });
  expect(drawn.sort()).toEqual(tabled.sort());
});
