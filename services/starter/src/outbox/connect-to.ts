/** How a starter connects to a scheduler, whichever kind: connections are kept, no proxy, no redirects, any status is an answer. */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import axios, { type AxiosInstance } from 'axios';
import { userAgent } from '../version.js';

export function connectTo(schedulerUrl: string): { http: AxiosInstance; close(): void } {
  const httpAgent = new HttpAgent({ keepAlive: true, maxSockets: 32 });
  const httpsAgent = new HttpsAgent({ keepAlive: true, maxSockets: 32 });
  const http = axios.create({
    baseURL: schedulerUrl,
    httpAgent,
    httpsAgent,
    timeout: 30_000,
    proxy: false,
    maxRedirects: 0,
    maxBodyLength: Infinity,
    maxContentLength: 1024 * 1024,
    responseType: 'text',
    validateStatus: null,
    headers: { 'User-Agent': userAgent, 'Content-Type': 'application/json' },
  });
  return {
    http,
    close() {
      httpAgent.destroy();
      httpsAgent.destroy();
    },
  };
}
