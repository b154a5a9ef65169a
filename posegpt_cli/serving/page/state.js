// What is asked for, and how a link says it: #walk/elderly:64,run:60&seed=3&n=2

export const FRESH = { segments: [{ actions: ['walk'], style: null, frames: null }], count: 1, seed: 0, guidance: null, temperature: null, clean: true };

const escaped = (text) => encodeURIComponent(text).replaceAll('%20', '_');
const plain = (text) => decodeURIComponent(text.replaceAll('_', '%20'));

export function toHash(state) {
  const parts = state.segments.map((segment) => {
    const style = segment.style ? `/${escaped(segment.style)}` : '';
    return `${segment.actions.map(escaped).join('+')}${style}${segment.frames ? `:${segment.frames}` : ''}`;
  });
  const options = new URLSearchParams();
  if (state.seed) options.set('seed', state.seed);
  if (state.count > 1) options.set('n', state.count);
  if (state.guidance !== null) options.set('guidance', state.guidance);
  if (state.temperature !== null) options.set('temperature', state.temperature);
  if (!state.clean) options.set('clean', '0');
  const text = options.toString();
  return `#${parts.join(',')}${text ? `&${text}` : ''}`;
}

// The state of a link; null if it says nothing that can be used.
export function fromHash(hash) {
  const [motion, ...rest] = hash.replace(/^#/, '').split('&');
  if (!motion) return null;
  try {
    const options = new URLSearchParams(rest.join('&'));
    const number = (name, otherwise) => (Number.isFinite(Number(options.get(name) ?? NaN)) ? Number(options.get(name)) : otherwise);
    const segments = motion.split(',').map((part) => {
      const [, what, style, frames] = /^([^/:]*)(?:\/([^:]*))?(?::(\d+))?$/.exec(part);
      const actions = what ? what.split('+').map(plain) : [];
      return { actions, style: style ? plain(style) : null, frames: frames ? Number(frames) : null };
    });
    return {
      segments,
      seed: number('seed', 0),
      count: Math.max(1, Math.min(9, number('n', 1))),
      guidance: number('guidance', null),
      temperature: number('temperature', null),
      clean: options.get('clean') !== '0',
    };
  } catch {
    return null;
  }
}

// The body of a request to the server.
export function toRequest(state) {
  const codes = {};
  if (state.guidance !== null) codes.guidance = state.guidance;
  if (state.temperature !== null) codes.temperature = state.temperature;
  return { n: state.count, seed: state.seed, clean: state.clean, codes };
}
