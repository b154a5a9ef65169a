// Plays the page's .glb: orbit, play, pause, scrub. Runs from a file, without a network.
'use strict';

(async () => {
  const settings = JSON.parse(document.getElementById('settings').textContent);
  const byId = (id) => document.getElementById(id);
  const [canvas, play, scrub, time, speed, follow] = ['view', 'play', 'scrub', 'time', 'speed', 'follow'].map(byId);
  byId('title').textContent = settings.title;

  let stage;
  try {
    stage = new Stage(canvas, settings);
  } catch {
    byId('title').textContent = 'This browser cannot draw in 3D: switch WebGL on, or use another browser.';
    return;
  }
  document.body.classList.toggle('dark', stage.isDark);

  const bytes = Uint8Array.from(atob(byId('motion').textContent.trim()), (c) => c.charCodeAt(0));
  const actors = [];
  for (const actor of settings.actors) actors.push(await loadActor(bytes.buffer, actor, stage.scene));
  const pelvises = actors.flatMap((actor) => actor.pelvises);
  const paints = actors.flatMap((actor) => actor.paints);
  if (settings.color) for (const paint of paints) paint(settings.color);

  const last = settings.frames - 1;
  let frame = 0; // with its fraction
  let playing = last > 0;

  function show() {
    const shown = Math.min(Math.floor(frame + 1e-6), last);
    for (const actor of actors) {
      actor.mixer.setTime(Math.min(Math.min(frame, last) / settings.fps, actor.seconds));
      actor.stand.updateMatrixWorld(true);
    }
    stage.track(pelvises, follow.checked);
    if (settings.past_frames) {
      const color = shown < settings.past_frames ? settings.past_color : settings.future_color;
      for (const paint of paints) paint(color);
    }
    scrub.value = shown;
    time.textContent = `${(shown / settings.fps).toFixed(2)} s · ${shown}/${last}`;
    document.body.dataset.frame = shown;
  }

  function setPlaying(on) {
    playing = on && last > 0;
    play.textContent = playing ? 'Pause' : 'Play';
    document.body.dataset.playing = playing;
  }

  function seek(to) {
    frame = Math.max(0, Math.min(last, to));
    show();
  }

  const resize = () => stage.resize(window.innerWidth, window.innerHeight);

  play.onclick = () => setPlaying(!playing);
  scrub.max = last;
  scrub.oninput = () => { setPlaying(false); seek(Number(scrub.value)); };
  window.addEventListener('resize', resize);
  window.addEventListener('keydown', (event) => {
    if (event.target instanceof HTMLSelectElement) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === ' ') setPlaying(!playing);
    else if (step) { setPlaying(false); seek(Math.round(frame) + step); }
    else return;
    event.preventDefault();
  });

  resize();
  show();
  stage.frame(pelvises, settings.height, settings.eye);
  setPlaying(true);

  let before = performance.now();
  stage.renderer.setAnimationLoop((now) => {
    const elapsed = Math.min((now - before) / 1000, 0.25);
    before = now;
    if (playing && elapsed > 0) {
      frame += elapsed * settings.fps * Number(speed.value);
      if (frame >= settings.frames) frame %= settings.frames; // the last picture stays for its share of time
      show();
    }
    if (stage.draw()) document.body.dataset.ready = 'true';
  });
})();
