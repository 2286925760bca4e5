import fc from 'fast-check';
import {
  chooseFairly,
  freeSlots,
  placeOnStarters,
  queuesInReach,
  type WaitingQueue,
  type WaitingTask,
} from './fair-choice.js';

const none = new Map<string, number>();

function tasksOf(fairKey: string, ids: number[], priority = 0): WaitingTask[] {
  return ids.map((id) => ({ id, priority, fairKey }));
}

describe('choosing fairly', () => {
  test('priority goes before fairness, and fairness before age', () => {
    const waiting = [
      ...tasksOf('org:1', [1, 2, 3]),
      ...tasksOf('owner:a', [4, 5]),
      ...tasksOf('org:1', [9], 5),
    ];
    expect(chooseFairly(waiting, none, 4)).toEqual([9, 4, 1, 5]);
  });

  test('who has much in flight waits until the others caught up', () => {
    const waiting = [...tasksOf('org:1', [1, 2]), ...tasksOf('org:2', [3, 4, 5])];
    expect(chooseFairly(waiting, new Map([['org:1', 2]]), 4)).toEqual([3, 4, 1, 5]);
  });

  test('a full system delays: the owner with the most in flight still gets what nobody else wants', () => {
    expect(chooseFairly(tasksOf('org:1', [1, 2]), new Map([['org:1', 500]]), 9)).toEqual([1, 2]);
  });

  test('ids need to be read only for the queues in reach', () => {
    const anyTask = fc.record({
      priority: fc.integer({ min: 0, max: 2 }),
      fairKey: fc.constantFrom('org:1', 'org:2', 'owner:a', 'owner:b', 'owner:c'),
    });
    const anyLoad = fc.dictionary(
      fc.constantFrom('org:1', 'org:2', 'owner:a'),
      fc.integer({ min: 0, max: 4 }),
    );
    fc.assert(
      fc.property(
        fc.array(anyTask, { maxLength: 40 }),
        anyLoad,
        fc.integer({ min: 1, max: 8 }),
        (rows, load, count) => {
          const waiting = rows.map((row, index) => ({ ...row, id: index + 1 }));
          const inFlight = new Map(Object.entries(load));
          const reach = queuesInReach(queuesOf(waiting), inFlight, count);
          const read = reach.flatMap(({ priority, fairKey }) =>
            waiting.filter((task) => task.priority === priority && task.fairKey === fairKey).slice(0, count),
          );
          expect(chooseFairly(read, inFlight, count)).toEqual(chooseFairly(waiting, inFlight, count));
        },
      ),
      { numRuns: 2000 },
    );
  });
});

function queuesOf(waiting: WaitingTask[]): WaitingQueue[] {
  const queues = new Map<string, WaitingQueue>();
  for (const { id, priority, fairKey } of waiting) {
    const key = `${priority} ${fairKey}`;
    if (!queues.has(key)) queues.set(key, { priority, fairKey, oldestId: id });
  }
  return [...queues.values()];
}

describe('placing on starters', () => {
  const starter = (id: string, slots: number, inFlight = 0, foreignBusy = 0) => ({
    id,
    slots,
    inFlight,
    foreignBusy,
  });

  test('the starter with the most free slots comes first', () => {
    expect(placeOnStarters([starter('a', 2), starter('b', 4, 1)], 9)).toEqual(['b', 'a', 'b', 'a', 'b']);
  });

  test('slots that others use are not given away', () => {
    expect(freeSlots(starter('a', 4, 1, 2))).toBe(1);
    expect(freeSlots(starter('a', 4, 3, 3))).toBe(0);
    expect(placeOnStarters([starter('a', 4, 1, 3)], 1)).toEqual([]);
  });
});
