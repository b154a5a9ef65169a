// The server's HTTP API, as this page uses it.

export class ApiError extends Error {
  constructor({ message, hint }, status) {
    super(message || 'the server does not answer');
    this.hint = hint || '';
    this.status = status;
  }
}

async function checked(answer) {
  if (answer.ok) return answer;
  throw new ApiError(await answer.json().catch(() => ({})), answer.status);
}

export const getJson = async (path) => (await checked(await fetch(path))).json();

const post = (path, body, options = {}) => fetch(path, {
  method: 'POST',
  headers: { 'content-type': 'application/json', ...options.headers },
  body: JSON.stringify(body),
  signal: options.signal,
});

export const postJson = async (path, body) => (await checked(await post(path, body))).json();

// Ask for a file; gives its name and content.
export async function postForFile(path, body) {
  const answer = await checked(await post(path, body));
  const name = /filename="([^"]+)"/.exec(answer.headers.get('content-disposition') || '');
  return { name: name ? name[1] : 'motion', blob: await answer.blob() };
}

export async function upload(path, files) {
  const form = new FormData();
  for (const file of files) form.append('file', file, file.name);
  return (await checked(await fetch(path, { method: 'POST', body: form }))).json();
}

// Ask for motion, and hear of it while it is made: `on.progress`, `on.frames`; gives the finished answer.
export async function postForMotion(path, body, on, signal) {
  const answer = await checked(await post(path, body, { signal, headers: { accept: 'text/event-stream' } }));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new ApiError({ message: 'the server broke off' });
    text += value;
    const events = text.split('\n\n');
    text = events.pop(); // not whole yet
    for (const event of events) {
      const [, kind, data] = /^event: (\w+)\ndata: (.*)$/s.exec(event);
      const content = JSON.parse(data);
      if (kind === 'done') return content;
      if (kind === 'error') throw new ApiError(content);
      on[kind]?.(content);
    }
  }
}

// Float32Array of the `data` of a motion.
export function unpack(data) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}
