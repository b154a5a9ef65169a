// The panel: prompt, the selected segment, numbers; it shows the state and says how it changes.

const byId = (id) => document.getElementById(id);
// Examples, and the actions and styles that a generator has to know for them.
const IDEAS = [
  ['an old man walks for 3 seconds, then bows', ['walk', 'bow', 'elderly']],
  ['walk 2s, wave-right-hand 1.5s, run 2s', ['walk', 'wave-right-hand', 'run']],
  ['she happily jumps twice', ['jump', 'happy']],
  ['squat', ['squat']],
];

export class Panel {
  // on.change(state, isFinal): a new state; not final while somebody still types.
  constructor(about, on) {
    this.about = about;
    this.on = on;
    this.selected = 0;
    this.onSubmit = () => {};
    fill(byId('action'), about.actions, 'anything');
    fill(byId('style'), about.styles, 'none');
    this.offerIdeas();

    byId('panel').onsubmit = (event) => { event.preventDefault(); this.onSubmit(); };
    byId('prompt').onkeydown = (event) => {
      if (event.key !== 'Enter' || event.shiftKey) return;
      event.preventDefault();
      this.onSubmit();
    };
    byId('action').onchange = () => this.changeSegment({ actions: byId('action').value ? [byId('action').value] : [] });
    byId('style').onchange = () => this.changeSegment({ style: byId('style').value || null });
    byId('seconds').onchange = () => {
      const seconds = Number(byId('seconds').value);
      this.changeSegment({ frames: seconds ? Math.max(1, Math.round(seconds * about.fps)) : null });
    };
    byId('add').onclick = () => this.add();
    byId('remove').onclick = () => this.remove();
    byId('dice').onclick = () => this.reroll();
    for (const id of ['count', 'seed', 'guidance', 'temperature', 'clean']) {
      byId(id).onchange = () => this.changeNumbers();
    }
  }

  offerIdeas() {
    const known = new Set([...this.about.actions, ...this.about.styles].map((each) => each.name));
    for (const [idea, needed] of IDEAS) {
      if (!needed.every((name) => known.has(name))) continue;
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'quiet';
      button.textContent = idea;
      button.onclick = () => { byId('prompt').value = idea; this.onSubmit(); };
      byId('ideas').append(button);
    }
  }

  show(state, past) {
    this.state = state;
    this.selected = Math.min(this.selected, state.segments.length - 1);
    const segment = state.segments[this.selected];
    const place = state.segments.length > 1 ? `Segment ${this.selected + 1} of ${state.segments.length}` : 'Action';
    byId('segment-title').textContent = past ? 'What comes next' : place;
    select(byId('action'), segment.actions.join(' + '));
    byId('style').value = segment.style ?? '';
    byId('seconds').value = segment.frames ? (segment.frames / this.about.fps).toFixed(1) : '';
    byId('remove').disabled = state.segments.length < 2;
    byId('add').disabled = Boolean(past) || state.segments.length >= this.about.limits.segments;
    byId('count').value = state.count;
    byId('seed').value = state.seed;
    byId('guidance').value = state.guidance ?? '';
    byId('temperature').value = state.temperature ?? '';
    byId('clean').checked = state.clean;
    byId('past').hidden = !past;
    if (past) {
      byId('past-name').textContent = `Going on from ${past.name || 'this motion'}, ${(past.frames / past.fps).toFixed(1)} s`;
      byId('past-notes').textContent = past.notes.join('; ');
    }
  }

  // The prompt, if it was typed since it was last taken.
  takePrompt() {
    const text = byId('prompt').value.trim();
    const isNew = text !== this.taken;
    this.taken = text;
    return isNew ? text : '';
  }

  changeSegment(changes) {
    const { segments } = this.state;
    const changed = { ...segments[this.selected], ...changes };
    this.on.change({ ...this.state, segments: segments.with(this.selected, changed) });
  }

  changeNumbers() {
    const optional = (id) => (byId(id).value === '' ? null : Number(byId(id).value));
    this.on.change({
      ...this.state,
      count: Math.max(1, Math.min(9, Math.round(Number(byId('count').value) || 1))),
      seed: Math.max(0, Math.floor(Number(byId('seed').value) || 0)),
      guidance: optional('guidance'),
      temperature: optional('temperature'),
      clean: byId('clean').checked,
    });
  }

  add() {
    if (byId('add').disabled) return;
    const { segments } = this.state;
    const copy = { ...segments[this.selected], frames: segments[this.selected].frames ?? 60 };
    this.selected += 1;
    this.on.change({ ...this.state, segments: segments.toSpliced(this.selected, 0, copy) });
  }

  remove() {
    if (byId('remove').disabled) return;
    this.on.change({ ...this.state, segments: this.state.segments.toSpliced(this.selected, 1) });
  }

  reroll() {
    this.on.change({ ...this.state, seed: Math.floor(Math.random() * 100_000) });
  }
}

function fill(choice, entries, nothing) {
  choice.add(new Option(nothing, ''));
  for (const { name, quality } of entries) choice.add(new Option(quality === 'weak' ? `${name} (weak)` : name, name));
}

// Several actions at once have no entry of their own until they are chosen.
function select(choice, value) {
  if (![...choice.options].some((option) => option.value === value)) choice.add(new Option(value, value));
  choice.value = value;
}
