/**
 * Who is next, and where. Pure: `store/claim.ts` reads the figures and carries the answers out.
 * A *queue* is the waiting tasks of one priority and one fair key (an organisation, or an owner without one).
 * A full system delays; nobody is ever refused for having much in flight.
 */

export interface WaitingQueue {
  priority: number;
  fairKey: string;
  /** Id of the task that waits longest in it. The lower an id, the older the task. */
  oldestId: number;
}

/** The order in which queues are served: priority, then the least in flight, then age. */
function compareQueues(inFlight: ReadonlyMap<string, number>) {
  return (a: WaitingQueue, b: WaitingQueue) =>
    b.priority - a.priority ||
    (inFlight.get(a.fairKey) ?? 0) - (inFlight.get(b.fairKey) ?? 0) ||
    a.oldestId - b.oldestId;
}

/**
 * The queues that `chooseFairly` may take `count` tasks from; ids need to be read for these only. The first `count`
 * in order do not always suffice: a fair key served at a high priority sinks at a low one and lets another pass it,
 * so each priority keeps `count` queues.
 */
export function queuesInReach(
  queues: readonly WaitingQueue[],
  inFlight: ReadonlyMap<string, number>,
  count: number,
): WaitingQueue[] {
  const kept = new Map<number, number>();
  const reach: WaitingQueue[] = [];
  for (const queue of [...queues].sort(compareQueues(inFlight))) {
    const sofar = kept.get(queue.priority) ?? 0;
    // Higher priorities that already hold `count` tasks leave nothing for lower ones.
    if (sofar === 0 && reach.length >= count) break;
    if (sofar >= count) continue;
    kept.set(queue.priority, sofar + 1);
    reach.push(queue);
  }
  return reach;
}

export interface WaitingTask {
  id: number;
  priority: number;
  fairKey: string;
}

/** Picks up to `count` tasks, one by one; each pick counts as in flight for the next. */
export function chooseFairly(
  waiting: readonly WaitingTask[],
  inFlight: ReadonlyMap<string, number>,
  count: number,
): number[] {
  const load = new Map(inFlight);
  const queues = new Map<string, WaitingTask[]>();
  for (const task of [...waiting].sort((a, b) => a.id - b.id)) {
    const key = `${task.priority} ${task.fairKey}`;
    const queue = queues.get(key);
    if (queue) queue.push(task);
    else queues.set(key, [task]);
  }
  const heads = [...queues.values()].map((tasks) => ({ tasks, next: 0 }));
  const chosen: number[] = [];
  while (chosen.length < count) {
    let best: { tasks: WaitingTask[]; next: number } | undefined;
    let bestTask: WaitingTask | undefined;
    for (const head of heads) {
      const task = head.tasks[head.next];
      if (task && (!bestTask || goesBefore(task, bestTask, load))) [best, bestTask] = [head, task];
    }
    if (!best || !bestTask) break;
    best.next += 1;
    load.set(bestTask.fairKey, (load.get(bestTask.fairKey) ?? 0) + 1);
    chosen.push(bestTask.id);
  }
  return chosen;
}

function goesBefore(a: WaitingTask, b: WaitingTask, load: ReadonlyMap<string, number>): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  const difference = (load.get(a.fairKey) ?? 0) - (load.get(b.fairKey) ?? 0);
  return difference === 0 ? a.id < b.id : difference < 0;
}

export interface StarterRoom {
  id: string;
  slots: number;
  /** Attempts that the database says it holds. */
  inFlight: number;
  /** Slots that its heartbeat says are taken by work which is not in our database. */
  foreignBusy: number;
}

export function freeSlots(starter: StarterRoom): number {
  return Math.max(0, starter.slots - starter.inFlight - starter.foreignBusy);
}

/** The starter for each of up to `count` tasks: always the one with the most free slots left. */
export function placeOnStarters(starters: readonly StarterRoom[], count: number): string[] {
  const room = starters.map((starter) => ({ id: starter.id, free: freeSlots(starter) }));
  const places: string[] = [];
  while (places.length < count) {
    const roomiest = room.reduce<(typeof room)[number] | undefined>(
      (best, each) => (each.free > (best?.free ?? 0) ? each : best),
      undefined,
    );
    if (!roomiest) break;
    roomiest.free -= 1;
    places.push(roomiest.id);
  }
  return places;
}
