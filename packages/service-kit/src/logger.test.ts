import { createLogger } from './logger.js';

describe('the logger', () => {
  it('blanks secrets wherever they slip into a field', () => {
    const lines: string[] = [];
    const logger = createLogger({ service: 'test' }, { write: (line) => void lines.push(line) });
    logger
      .child({ taskId: 7 })
      .info(
        { token: 'hush', request: { env: { api_token: 'hush' } }, headers: { authorization: 'hush' } },
        'event',
      );
    expect(lines.join()).not.toContain('hush');
    expect(JSON.parse(lines[0]!)).toMatchObject({
      level: 'info',
      service: 'test',
      taskId: 7,
      msg: 'event',
      token: '[redacted]',
    });
  });

  it('tells what an error says and what caused it, but not the request that it carries', () => {
    const lines: string[] = [];
    const logger = createLogger({ service: 'test' }, { write: (line) => void lines.push(line) });
    const request = { config: { headers: { Authorization: 'Bearer hush' } }, code: 'ECONNREFUSED' };
    const cause = Object.assign(new Error('connect refused'), request);
    logger.error({ err: Object.assign(new Error('no heartbeat', { cause }), request) }, 'event');
    expect(lines.join()).not.toContain('hush');
    expect(JSON.parse(lines[0]!)).toMatchObject({
      err: {
        message: 'no heartbeat',
        code: 'ECONNREFUSED',
        stack: expect.stringContaining('logger.test'),
        cause: { message: 'connect refused' },
      },
    });
  });
});
