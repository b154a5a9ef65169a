// The page: what is asked for goes to the server, and what comes back is played.

import { getJson, postForMotion, postJson, unpack, upload } from './api.js';
import { Figures } from './figures.js';
import { makeDownloads, takeFiles } from './files.js';
import { listenToKeys } from './keys.js';
import { Panel } from './panel.js';
import { Player } from './player.js';
import { FRESH, fromHash, toHash, toRequest } from './state.js';
import { setUpTheme } from './theme.js';
import { Timeline } from './timeline.js';

const byId = (id) => document.getElementById(id);
const EYE = [0.45, 0.28, 0.85];
const SUN = [0.35, 0.85, 0.4];
const PANEL = 340; // pixels that the panel takes from a view wider than NARROW, see style.css
const NARROW = 760;

const page = { motions: [], past: null, character: null, asking: null, message: 0 };

function say(text, isBad = false) {
  const box = byId('message');
  box.textContent = text;
  box.hidden = !text;
  box.classList.toggle('bad', isBad);
  clearTimeout(page.message);
  if (text) page.message = setTimeout(() => { box.hidden = true; }, isBad ? 9000 : 4000);
}

const fail = (error) => say(error.hint ? `${error.message}. ${error.hint}` : error.message, true);

async function start() {
  const about = await getJson('/api/actions');
  const theme = setUpTheme(byId('theme'), (background) => stage?.setLook(background, 'checker'));
  let stage;
  try {
    stage = new Stage(byId('view'), { background: theme.background(), floor: 'checker', sun: SUN });
  } catch {
    say('This browser cannot draw in 3D: switch WebGL on, or use another browser.', true);
    return;
  }
  const body = await fetch('/api/body').then((answer) => answer.arrayBuffer());
  const figures = new Figures(stage, about, body);
  await figures.setCount(1);

  let state = fromHash(location.hash) ?? startingState(about);
  const panel = new Panel(about, { change: (next, isFinal) => change(next, isFinal) });
  const timeline = new Timeline(byId('track'), about.fps, {
    select: (k) => { panel.selected = k; show(); },
    change: (segments, k) => { panel.selected = k; change({ ...state, segments }); },
  });

  const player = new Player(about.fps, {
    show(frame) {
      figures.pose(frame);
      if (figures.frames) stage.track(figures.pelvises, byId('follow').checked);
      const last = Math.max(0, player.frames - 1);
      byId('scrub').max = last;
      byId('scrub').value = player.shown;
      byId('playhead').style.left = `${last ? (100 * Math.min(frame, last)) / last : 0}%`;
      byId('time').textContent = `${(player.shown / about.fps).toFixed(2)} s · ${player.shown}/${last}`;
      document.body.dataset.frame = player.shown;
      document.body.dataset.frames = player.frames;
    },
    change() {
      byId('play').textContent = player.playing ? '❚❚' : '▶';
      byId('play').setAttribute('aria-label', player.playing ? 'Pause' : 'Play');
      document.body.dataset.playing = player.playing;
    },
  });

  // Everything that shows what is asked for.
  function show() {
    panel.show(state, page.past);
    const generated = player.frames - (page.past?.frames ?? 0);
    const made = state.segments.length === 1 && !page.asking && page.motions.length ? generated : null;
    timeline.draw(page.past ? state.segments.slice(0, 1) : state.segments, panel.selected, made, page.past?.frames ?? 0);
  }

  function change(next, isFinal = true) {
    state = next;
    history.replaceState(null, '', toHash(state));
    show();
    if (isFinal && byId('live').checked) generate();
  }

  async function generate() {
    page.asking?.abort();
    const asking = new AbortController();
    page.asking = asking;
    setBusy(true);
    const clicked = performance.now();
    let isFirst = true;

    // The first frames take the place of what was shown; later ones follow.
    async function begin(count) {
      if (!isFirst) return;
      isFirst = false;
      await figures.setCount(count);
      await figures.setActors(null);
      if (asking.signal.aborted) return;
      figures.clear();
      player.growing = true;
      player.frame = 0;
      player.setPlaying(true);
    }

    const past = page.past;
    const given = past ? past.frames : 0;
    try {
      let chain = Promise.resolve();
      const on = {
        frames({ first, data }) {
          chain = chain.then(async () => {
            await begin(data.length);
            if (asking.signal.aborted) return;
            data.forEach((part, k) => figures.put(k, first, unpack(part), given));
            player.setFrames(figures.frames);
            document.body.dataset.firstFrame ??= '';
            if (first === 0) document.body.dataset.firstFrame = Math.round(performance.now() - clicked);
          });
        },
      };
      const answer = await ask(past, on, asking.signal);
      await chain;
      await begin(answer.motions.length);
      if (asking.signal.aborted) return;
      const isOtherCount = answer.motions.length !== page.motions.length;
      page.motions = answer.motions;
      answer.motions.forEach((motion, k) => figures.put(k, 0, unpack(motion.data), motion.past_frames));
      player.growing = false;
      player.setFrames(figures.frames);
      await dress();
      if (isOtherCount) view();
      if (given && player.frame < given) player.frame = Math.max(0, given - about.fps);
      player.setPlaying(true);
      byId('licence').textContent = answer.motions[0].licence;
      document.body.dataset.motions = Number(document.body.dataset.motions ?? 0) + 1;
    } catch (error) {
      if (error.name !== 'AbortError') fail(error);
    } finally {
      if (page.asking === asking) {
        page.asking = null;
        player.growing = false;
        setBusy(false);
        show();
      }
    }
  }

  // Put what is shown on the user's own character, if there is one.
  async function dress() {
    if (!page.character || !page.motions.length) return;
    const motions = page.motions.map((motion) => motion.id);
    await figures.setActors(await postJson('/api/stage', { character: page.character.id, motions }));
    player.seek(player.frame);
    document.body.dataset.character = page.character.name;
  }

  async function setCharacter(files) {
    say('reading…');
    try {
      page.character = await upload('/api/characters', files);
      byId('undress').hidden = false;
      await held();
      await dress();
      view();
      say([page.character.name, ...page.character.notes].join('; '));
    } catch (error) {
      page.character = null;
      byId('undress').hidden = true;
      fail(error);
    }
  }

  async function undress() {
    page.character = null;
    byId('undress').hidden = true;
    delete document.body.dataset.character;
    await figures.setActors(null);
    player.seek(player.frame);
  }

  function ask(past, on, signal) {
    if (!past) {
      return postForMotion('/api/generate', { ...toRequest(state), segments: state.segments }, on, signal);
    }
    const { actions, style, frames } = state.segments[0];
    const body = { ...toRequest(state), past: past.id, actions, style, frames: frames ?? 64 };
    return postForMotion('/api/forecast', body, on, signal);
  }

  function setBusy(isBusy) {
    document.body.dataset.busy = isBusy;
    byId('cancel').hidden = !isBusy;
  }

  function setPast(past) {
    page.past = past;
    panel.selected = 0;
    show();
  }

  async function goOn() {
    if (!page.motions.length) return;
    setPast(page.motions[0]);
    await generate();
  }

  // The ids of what is shown; what the server has forgotten is generated again.
  async function held() {
    const ids = page.motions.map((motion) => motion.id);
    const known = await Promise.all(ids.map((id) => fetch(`/api/motions/${id}`).then((answer) => answer.ok)));
    if (!known.every(Boolean)) await generate();
    return page.motions.map((motion) => motion.id);
  }

  async function take(files) {
    if (files.some((file) => /\.(glb|gltf|vrm)$/i.test(file.name))) {
      await setCharacter(files);
      return;
    }
    say('reading…');
    try {
      const past = await upload('/api/uploads', files);
      say(`${past.name}: ${(past.frames / past.fps).toFixed(1)} s`);
      await figures.setCount(1);
      await figures.setActors(null);
      figures.clear();
      figures.put(0, 0, unpack(past.data), past.frames);
      player.setFrames(past.frames);
      state = { ...state, segments: [{ actions: [], style: null, frames: 90 }] };
      setPast(past);
      await generate();
    } catch (error) {
      fail(error);
    }
  }

  async function understand(text) {
    try {
      const { segments, notes } = await postJson('/api/prompt', { text });
      if (notes.length) say(notes.join('; '));
      panel.selected = 0;
      change({ ...state, segments }, false);
      return true;
    } catch (error) {
      fail(error);
      return false;
    }
  }

  async function submit() {
    const text = panel.takePrompt();
    if (text && !(await understand(text))) return;
    await generate();
  }

  async function share() {
    await navigator.clipboard.writeText(location.href).then(
      () => say('The link is copied: it makes this motion again.'),
      () => say(location.href),
    );
  }

  // Controls.
  panel.onSubmit = submit;
  byId('cancel').onclick = () => page.asking?.abort();
  byId('forget').onclick = () => { setPast(null); generate(); };
  byId('undress').onclick = undress;
  byId('continue').onclick = goOn;
  byId('share').onclick = share;
  byId('help').onclick = () => byId('keys').showModal();
  byId('play').onclick = () => player.setPlaying(!player.playing);
  byId('scrub').oninput = () => { player.setPlaying(false); player.seek(Number(byId('scrub').value)); };
  byId('speed').onchange = () => { player.speed = Number(byId('speed').value); };
  makeDownloads(byId('downloads'), { motions: held, character: () => page.character?.id ?? null, background: theme.background, busy: say, fail });
  takeFiles(byId('file'), byId('drop-hint'), take);
  listenToKeys({
    play: () => player.setPlaying(!player.playing),
    step: (frames) => player.step(frames),
    seek: (frame) => { player.setPlaying(false); player.seek(frame); },
    generate: submit,
    stop: () => page.asking?.abort(),
    reroll: () => panel.reroll(),
    add: () => panel.add(),
    remove: () => panel.remove(),
    speed(by) {
      const choice = byId('speed');
      choice.selectedIndex = Math.max(0, Math.min(choice.options.length - 1, choice.selectedIndex + by));
      choice.onchange();
    },
    follow: () => byId('follow').click(),
    view,
    goOn,
    share,
    theme: () => byId('theme').click(),
  }, byId('keys'));
  window.addEventListener('hashchange', () => {
    const linked = fromHash(location.hash);
    if (linked && toHash(linked) !== toHash(state)) { panel.selected = 0; page.past = null; change(linked, false); generate(); }
  });

  // Everybody in view, beside the panel.
  function view() {
    const { aspect } = stage.camera;
    const { clientWidth } = byId('view');
    if (clientWidth > NARROW) stage.camera.aspect *= 1 - PANEL / clientWidth;
    stage.frame(figures.pelvises, about.height, EYE);
    stage.camera.aspect = aspect;
  }

  // The view: as large as its place, the figure beside the panel on a wide screen.
  function resize() {
    const { clientWidth, clientHeight } = byId('view');
    stage.resize(clientWidth, clientHeight);
    const isWide = clientWidth > NARROW;
    const [aside, down] = isWide ? [-PANEL / 2, 30] : [0, 0];
    stage.camera.setViewOffset(clientWidth, clientHeight, aside, down, clientWidth, clientHeight);
  }
  new ResizeObserver(resize).observe(byId('view'));
  resize();

  show();
  await generate();
  if (figures.frames) view();
  let before = performance.now();
  stage.renderer.setAnimationLoop((now) => {
    player.advance(Math.min((now - before) / 1000, 0.25));
    before = now;
    if (stage.draw()) document.body.dataset.ready = 'true';
  });
}

function startingState(about) {
  const names = about.actions.map((action) => action.name);
  return { ...FRESH, segments: [{ actions: [names.includes('walk') ? 'walk' : names[0]], style: null, frames: null }] };
}

start().catch(fail);
