/** Whether the image that a starter is set to use is there and speaks the runner protocol (see `services/runner`). */
import { SandboxStartError } from '../executor.js';
import { labels } from './container-options.js';
import type { Engine } from './engine.js';

const protocolVersion = '1';

export interface ImageDescription {
  Config?: { Labels?: Record<string, string> | null } | null;
}

export function findImage(engine: Engine, image: string): Promise<ImageDescription | undefined> {
  return engine.read('describe the runner image', `/images/${image}/json`);
}

export function imageMissing(image: string): string {
  return `The runner image ${image} is not on this machine; build it with: docker build -t ${image} services/runner/python`;
}

export function imageProblem(
  image: string,
  found: ImageDescription | undefined,
): SandboxStartError | undefined {
  if (!found) return new SandboxStartError('image_missing', imageMissing(image));
  const imageLabels = found.Config?.Labels;
  const spoken =
    imageLabels && Object.hasOwn(imageLabels, labels.protocol) ? imageLabels[labels.protocol] : undefined;
  if (spoken === protocolVersion) return undefined;
  return new SandboxStartError(
    'engine_error',
    `The image ${image} ${spoken === undefined ? 'is no runner image' : `speaks version ${spoken} of the runner protocol`}: ` +
      `its label ${labels.protocol} must be "${protocolVersion}"; build one with: docker build -t ${image} services/runner/python`,
  );
}
