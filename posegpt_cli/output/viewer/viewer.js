// Plays the page's .glb: orbit, play, pause, scrub. Runs from a file, without a network.
'use strict';

(async () => {
  const settings = JSON.parse(document.getElementById('settings').textContent);
  const byId = (id) => document.getElementById(id);
  const [canvas, play, scrub, time, speed, follow] = ['view', 'play', 'scrub', 'time', 'speed', 'follow'].map(byId);
  byId('title').textContent = settings.title;
  const background = new THREE.Color(settings.background);
  const isDark = 0.3 * background.r + 0.6 * background.g + 0.1 * background.b < 0.18; // linear light
  document.body.classList.toggle('dark', isDark);

  let renderer;
  try {
    renderer = new THREE.WebGLRenderer({ canvas, antialias: true });
  } catch {
    byId('title').textContent = 'This browser cannot draw in 3D: switch WebGL on, or use another browser.';
    return;
  }
  renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
  renderer.shadowMap.enabled = true;

  const scene = new THREE.Scene();
  scene.background = background;
  scene.fog = new THREE.Fog(background, 9, 28);
  scene.add(new THREE.HemisphereLight(0xffffff, 0xb9b4ac, 2.0));
  const sun = new THREE.DirectionalLight(0xfff6e8, 2.2);
  const sunOffset = new THREE.Vector3(...settings.sun).multiplyScalar(8);
  sun.castShadow = true;
  sun.shadow.mapSize.set(2048, 2048);
  sun.shadow.radius = 4;
  sun.shadow.bias = -0.0006;
  sun.shadow.normalBias = 0.012;
  Object.assign(sun.shadow.camera, { near: 1, far: 20 });
  scene.add(sun, sun.target);
  if (settings.floor !== 'none') scene.add(makeFloor(settings.floor, isDark));

  const bytes = Uint8Array.from(atob(byId('motion').textContent.trim()), (c) => c.charCodeAt(0));
  const model = await new THREE.GLTFLoader().parseAsync(bytes.buffer, '');
  const pelvises = [];
  const materials = new Set();
  model.scene.traverse((node) => {
    if (!node.isSkinnedMesh) return;
    node.castShadow = node.receiveShadow = true;
    node.frustumCulled = false; // its box is that of the rest pose
    materials.add(node.material);
    pelvises.push(node.skeleton.bones[0]);
  });
  scene.add(model.scene);
  const mixer = new THREE.AnimationMixer(model.scene);
  mixer.clipAction(model.animations[0]).play();

  const camera = new THREE.PerspectiveCamera(30, 1, 0.05, 200);
  const orbit = new THREE.OrbitControls(camera, canvas);
  orbit.enableDamping = true;
  orbit.maxPolarAngle = Math.PI / 2 - 0.02; // never from under the floor
  orbit.minDistance = 0.6;
  orbit.maxDistance = 40;
  const middle = new THREE.Vector3();
  const point = new THREE.Vector3();
  const last = settings.frames - 1;
  let frame = 0; // with its fraction
  let playing = last > 0;
  let dirty = true;

  function show() {
    const shown = Math.min(Math.floor(frame + 1e-6), last);
    mixer.setTime(Math.min(frame, last) / settings.fps);
    model.scene.updateMatrixWorld(true);
    const before = middle.clone();
    middle.set(0, 0, 0);
    for (const pelvis of pelvises) middle.add(point.setFromMatrixPosition(pelvis.matrixWorld));
    middle.divideScalar(pelvises.length);
    let reach = 1.6;
    for (const pelvis of pelvises) {
      reach = Math.max(reach, 1.6 + middle.distanceTo(point.setFromMatrixPosition(pelvis.matrixWorld)));
    }
    if (Math.abs(sun.shadow.camera.right - reach) > 0.2) {
      Object.assign(sun.shadow.camera, { left: -reach, right: reach, top: reach, bottom: -reach });
      sun.shadow.camera.updateProjectionMatrix();
    }
    sun.target.position.copy(middle);
    sun.position.copy(middle).add(sunOffset);
    if (follow.checked && before.lengthSq() > 0) {
      point.subVectors(middle, before).setY(0);
      camera.position.add(point);
      orbit.target.add(point);
    }
    if (settings.past_frames) {
      const color = shown < settings.past_frames ? settings.past_color : settings.future_color;
      for (const material of materials) material.color.set(color);
    }
    scrub.value = shown;
    time.textContent = `${(shown / settings.fps).toFixed(2)} s · ${shown}/${last}`;
    document.body.dataset.frame = shown;
    dirty = true;
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

  function resize() {
    renderer.setSize(window.innerWidth, window.innerHeight, false);
    camera.aspect = window.innerWidth / window.innerHeight;
    camera.updateProjectionMatrix();
    dirty = true;
  }

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
  orbit.addEventListener('change', () => { dirty = true; });

  resize();
  show();
  orbit.target.set(middle.x, settings.height / 2, middle.z);
  const spread = Math.max(...pelvises.map((p) => point.setFromMatrixPosition(p.matrixWorld).distanceTo(middle)));
  const needed = Math.max(settings.height / 0.62, (2 * spread + 1.2) / 0.85 / camera.aspect);
  const distance = needed / 2 / Math.tan((camera.fov * Math.PI) / 360);
  camera.position.copy(orbit.target).addScaledVector(new THREE.Vector3(...settings.eye), distance);
  orbit.update();
  setPlaying(true);

  let before = performance.now();
  renderer.setAnimationLoop((now) => {
    const elapsed = Math.min((now - before) / 1000, 0.25);
    before = now;
    if (playing && elapsed > 0) {
      frame += elapsed * settings.fps * Number(speed.value);
      if (frame >= settings.frames) frame %= settings.frames; // the last picture stays for its share of time
      show();
    }
    orbit.update();
    if (dirty) {
      dirty = false;
      renderer.render(scene, camera);
      document.body.dataset.ready = 'true';
    }
  });
})();

function makeFloor(pattern, isDark) {
  const tile = document.createElement('canvas');
  tile.width = tile.height = 256;
  const pen = tile.getContext('2d');
  const [light, dim] = isDark ? ['#3a3f48', '#343841'] : ['#e6e8ec', '#d8dce1'];
  pen.fillStyle = light;
  pen.fillRect(0, 0, 256, 256);
  pen.fillStyle = dim;
  if (pattern === 'checker') {
    pen.fillRect(0, 0, 128, 128);
    pen.fillRect(128, 128, 128, 128);
  } else if (pattern === 'grid') {
    for (const at of [0, 128]) { pen.fillRect(at, 0, 3, 256); pen.fillRect(0, at, 256, 3); }
  }
  const texture = new THREE.CanvasTexture(tile);
  texture.colorSpace = THREE.SRGBColorSpace;
  texture.wrapS = texture.wrapT = THREE.RepeatWrapping;
  texture.repeat.set(80, 80); // a tile's side is half a metre
  texture.anisotropy = 8;
  const floor = new THREE.Mesh(new THREE.CircleGeometry(40, 64), new THREE.MeshLambertMaterial({ map: texture }));
  floor.rotation.x = -Math.PI / 2;
  floor.receiveShadow = true;
  return floor;
}
