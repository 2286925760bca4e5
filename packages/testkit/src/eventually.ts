/** Waiting for a condition, never for a time: the condition's own last complaint is what a failing test shows. */

/**
 * Calls `probe` until it neither throws nor answers false or undefined, and answers what it answered.
 * Rejects with the last failure once `timeoutMs` are over.
 */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  options: { timeoutMs?: number; everyMs?: number } = {},
): Promise<NonNullable<T>> {
  const deadline = Date.now() + (options.timeoutMs ?? 5_000);
  let failure: unknown;
  do {
    try {
      const value = await probe();
      if (value !== false && value !== undefined && value !== null) return value;
      failure = new Error(`the condition did not come true: ${probe.toString().slice(0, 200)}`);
    } catch (error) {
      failure = error;
    }
    await new Promise((resolve) => setTimeout(resolve, options.everyMs ?? 10));
  } while (Date.now() < deadline);
  throw failure;
}
