/** Whether the image of a profile is there and is spoken to as its profile says (see `services/runner`). */
import { type SandboxProfile, SandboxStartError } from '../executor.js';
import { labels } from './container-options.js';
import type { Engine } from './engine.js';

const protocolVersion = '1';

export interface ImageDescription {
  Config?: { Labels?: Record<string, string> | null } | null;
}

export function findImage(engine: Engine, image: string): Promise<ImageDescription | undefined> {
  return engine.read('describe the runner image', `/images/${image}/json`);
}

type Profile = Pick<SandboxProfile, 'image' | 'language' | 'protocol'>;

export function imageMissing(profile: Profile): string {
  const remedy = profile.protocol === 'original' ? `docker pull ${profile.image}` : buildCommand(profile);
  return `The runner image ${profile.image} is not on this machine; get it with: ${remedy}`;
}

function buildCommand({ image, language }: Profile): string {
  return `docker build -t ${image} services/runner/${language}`;
}

export function imageProblem(
  profile: Profile,
  found: ImageDescription | undefined,
): SandboxStartError | undefined {
  if (!found) return new SandboxStartError('image_missing', imageMissing(profile));
  const imageLabels = found.Config?.Labels;
  // Empty is how an image takes back the label of the one it is made from.
  const spoken =
    (imageLabels && Object.hasOwn(imageLabels, labels.protocol) && imageLabels[labels.protocol]) || undefined;
  const { image, protocol } = profile;
  if (protocol === 'original') {
    if (spoken === undefined) return undefined;
    return new SandboxStartError(
      'engine_error',
      `The image ${image} speaks the runner protocol, so its profile must not say protocol "original"`,
    );
  }
  if (spoken === protocolVersion) return undefined;
  return new SandboxStartError(
    'engine_error',
    `The image ${image} ${spoken === undefined ? 'is no runner image' : `speaks version ${spoken} of the runner protocol`}: ` +
      `its label ${labels.protocol} must be "${protocolVersion}"; build one with: ${buildCommand(profile)}` +
      (spoken === undefined
        ? ', or give it the protocol "original" if it was made for the original pipeline'
        : ''),
  );
}
