// Files in and out: downloads of what is shown, uploads by the button or dropped anywhere on the page.

import { postForFile } from './api.js';

export const FORMATS = ['mp4', 'gif', 'glb', 'bvh', 'npz', 'png'];

// A button for each format; motions() gives the ids, background() the colour of pictures.
export function makeDownloads(box, { motions, character, background, busy, fail }) {
  for (const format of FORMATS) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'quiet';
    button.textContent = `.${format}`;
    button.dataset.format = format;
    button.title = { mp4: 'Video', gif: 'Moving picture', glb: 'Blender, Unity, browsers', bvh: 'Skeleton for animation programs', npz: "AMASS's layout", png: 'Contact sheet' }[format];
    button.onclick = async () => {
      button.dataset.busy = true;
      busy(`.${format} is being made…`);
      try {
        const file = await postForFile('/api/render', { motions: await motions(), format, background: background(), character: character() });
        save(file);
        busy('');
      } catch (error) {
        fail(error);
      } finally {
        button.dataset.busy = false;
      }
    };
    box.append(button);
  }
}

function save({ name, blob }) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Call take(files) for what is chosen or dropped.
export function takeFiles(input, hint, take) {
  input.onchange = () => {
    if (input.files.length) take([...input.files]);
    input.value = '';
  };
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
  document.addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    hint.hidden = false;
  });
  document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) hint.hidden = true; });
  document.addEventListener('drop', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    hint.hidden = true;
    take([...event.dataTransfer.files]);
  });
}
