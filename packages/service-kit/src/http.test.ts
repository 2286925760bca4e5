import { anyJson, text } from '@stadion/contracts';
import request from 'supertest';
import { z } from 'zod';
import { Refusal } from './errors.js';
import { createHttpApp, listen, parseWith, type HttpAppOptions, type Route } from './http.js';
import { createLogger } from './logger.js';
import { createRegistry } from './metrics.js';

const logger = createLogger({ service: 'test', level: 'silent' });
const body = z.object({ name: text(1, 5), extra: anyJson.nullish() }, { error: 'must be an object' });

const routes: Route[] = [
  {
    method: 'post',
    path: '/echo/',
    permission: 'public',
    bodyLimit: 1_000,
    handler: ({ body: given, response }) => void response.json(parseWith(body, given)),
  },
  {
    method: 'post',
    path: '/text/',
    permission: 'host',
    refusals: 'text',
    handler: ({ subject, response }) => void response.send(subject),
  },
  {
    method: 'get',
    path: '/fault/:what',
    permission: 'public',
    handler: ({ request: { params } }) => {
      if (params['what'] === 'busy') throw new Refusal('busy', 'Too many.', { retryAfterS: 7 });
      throw new Error('a secret detail');
    },
  },
];

function appWith(overrides: Partial<HttpAppOptions> = {}) {
  return createHttpApp({
    routes,
    logger,
    registry: createRegistry('test', { withProcess: false }),
    gates: {
      host: ({ headers }) => {
        if (headers.authorization !== 'Token right') throw new Refusal('forbidden', 'No.');
        return 'the host';
      },
    },
    ...overrides,
  });
}

describe('an HTTP app', () => {
  it.each(['/echo/', '/echo'])('answers %s, whatever the content type says', async (path) => {
    const answer = await request(appWith()).post(path).type('text/plain').send('{"name":"a"}');
    expect([answer.status, answer.body]).toEqual([200, { name: 'a' }]);
  });

  it.each([
    ['', 'not valid JSON'],
    ['{"name":', 'not valid JSON'],
    ['[]', 'the body must be an object'],
    ['{}', 'name is required'],
    ['{"name":{}}', 'name must be a string'],
    ['{"name":""}', 'name must not be empty'],
    ['{"name":"abcdef"}', 'name must be at most 5 characters'],
    ['{"name":"\\ud83d"}', 'name must be valid Unicode'],
    ['{"name":"a","__proto__":{"x":1}}', 'not allowed'],
    ['{"name":"a","extra":{"constructor":{"prototype":{}}}}', 'not allowed'],
    [`{"name":"a","extra":${'['.repeat(201)}${']'.repeat(201)}}`, 'deeper than 200'],
  ])('refuses the body %j with 400 and says what is wrong', async (sent, message) => {
    const answer = await request(appWith()).post('/echo/').send(sent);
    expect(answer.status).toBe(400);
    expect(answer.body.error_msg).toContain(message);
  });

  it('counts an emoji as one character', async () => {
    const answer = await request(appWith()).post('/echo/').send({ name: '🏟🏟🏟🏟🏟' });
    expect(answer.status).toBe(200);
  });

  it('refuses a body over the limit with 413 as JSON', async () => {
    const answer = await request(appWith())
      .post('/echo/')
      .send({ name: 'x'.repeat(2_000) });
    expect(answer.status).toBe(413);
    expect(answer.body).toMatchObject({ code: 'too_large' });
    expect(answer.body.error_msg).toContain('1000');
  });

  it('lets nobody past a gate without the credential, and does not read their body', async () => {
    const answer = await request(appWith()).post('/text/').send('{"broken');
    expect([answer.status, answer.text]).toEqual([403, 'No.']);
    expect(answer.headers['content-type']).toBe('text/html; charset=utf-8');
    const allowed = await request(appWith()).post('/text/').set('Authorization', 'Token right').send('{}');
    expect(allowed.text).toBe('the host');
  });

  it('does not mount a route whose permission has no gate', () => {
    expect(() => appWith({ gates: {} })).toThrow('needs the permission "host"');
  });

  it.each(['/nowhere', '/echo/more', '/%zz', '/fault/%E0%A4%A', '//echo/', '/echo;x=1/'])(
    'answers the odd address %s with a 4xx',
    async (path) => {
      const answer = await request(appWith()).post(path).send('{"name":"a"}');
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
    },
  );

  it('answers a wrong method with 405 and the right one', async () => {
    const answer = await request(appWith()).get('/echo/');
    expect([answer.status, answer.headers['allow']]).toEqual([405, 'POST']);
  });

  it('says when to come again', async () => {
    const answer = await request(appWith()).get('/fault/busy');
    expect([answer.status, answer.headers['retry-after']]).toEqual([429, '7']);
  });

  it('keeps the message of a fault to itself', async () => {
    const answer = await request(appWith()).get('/fault/other');
    expect([answer.status, answer.text]).toEqual([500, 'Internal server error']);
  });
});

describe('listening', () => {
  it('says which address is taken', async () => {
    const first = await listen(appWith(), { host: '127.0.0.1', port: 0 });
    await expect(listen(appWith(), { host: '127.0.0.1', port: first.port })).rejects.toThrow(
      `Cannot listen on 127.0.0.1:${first.port}: another program listens there`,
    );
    await first.close();
  });
});
