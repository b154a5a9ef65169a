// The stage that both pages share: light, floor, camera, and the people who are followed.
// A classic script, so that a page opened from a file can hold it; three.min.js comes before it.
'use strict';

class Stage {
  // settings: background (#rrggbb), floor (checker, grid, plain or none), sun (direction towards it).
  constructor(canvas, settings) {
    this.canvas = canvas;
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true }); // throws without WebGL
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.shadowMap.enabled = true;

    this.scene = new THREE.Scene();
    this.scene.add(new THREE.HemisphereLight(0xffffff, 0xb9b4ac, 2.0));
    this.sunOffset = new THREE.Vector3(...settings.sun).multiplyScalar(8);
    this.sun = makeSun();
    this.scene.add(this.sun, this.sun.target);
    this.floor = null;
    this.setLook(settings.background, settings.floor);

    this.camera = new THREE.PerspectiveCamera(30, 1, 0.05, 200);
    this.orbit = new THREE.OrbitControls(this.camera, canvas);
    this.orbit.enableDamping = true;
    this.orbit.maxPolarAngle = Math.PI / 2 - 0.02; // never from under the floor
    this.orbit.minDistance = 0.6;
    this.orbit.maxDistance = 40;
    this.orbit.addEventListener('change', () => { this.dirty = true; });
    this.middle = new THREE.Vector3();
    this.isPlaced = false; // whether `middle` is that of somebody
    this.dirty = true;
  }

  // The floor fades into the background, whose lightness decides the floor's.
  setLook(background, floor) {
    const color = new THREE.Color(background);
    this.isDark = 0.3 * color.r + 0.6 * color.g + 0.1 * color.b < 0.18; // linear light
    this.scene.background = color;
    this.scene.fog = new THREE.Fog(color, 9, 28);
    if (this.floor) this.scene.remove(this.floor);
    this.floor = floor === 'none' ? null : makeFloor(floor, this.isDark);
    if (this.floor) this.scene.add(this.floor);
    this.dirty = true;
  }

  resize(width, height) {
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.dirty = true;
  }

  // Bring the sun, and the camera if it follows, to the middle of the people's pelvises.
  track(pelvises, follows) {
    const point = new THREE.Vector3();
    const before = this.middle.clone();
    this.middle.set(0, 0, 0);
    for (const pelvis of pelvises) this.middle.add(point.setFromMatrixPosition(pelvis.matrixWorld));
    this.middle.divideScalar(pelvises.length);

    // The shadow's picture covers everybody, and is no larger than that: it would be coarse.
    const reach = 1.6 + this.spread(pelvises);
    const shadow = this.sun.shadow.camera;
    if (Math.abs(shadow.right - reach) > 0.2) {
      Object.assign(shadow, { left: -reach, right: reach, top: reach, bottom: -reach });
      shadow.updateProjectionMatrix();
    }
    this.sun.target.position.copy(this.middle);
    this.sun.position.copy(this.middle).add(this.sunOffset);

    if (follows && this.isPlaced) {
      point.subVectors(this.middle, before).setY(0);
      this.camera.position.add(point);
      this.orbit.target.add(point);
    }
    this.isPlaced = true;
    this.dirty = true;
  }

  // How far the pelvises are from their middle, metres.
  spread(pelvises) {
    const point = new THREE.Vector3();
    return Math.max(...pelvises.map((p) => point.setFromMatrixPosition(p.matrixWorld).distanceTo(this.middle)));
  }

  // Place the camera so that people of this height are in view, seen from direction `eye`.
  frame(pelvises, height, eye) {
    this.orbit.target.set(this.middle.x, height / 2, this.middle.z);
    const needed = Math.max(height / 0.62, (2 * this.spread(pelvises) + 1.2) / 0.85 / this.camera.aspect);
    const distance = needed / 2 / Math.tan((this.camera.fov * Math.PI) / 360);
    this.camera.position.copy(this.orbit.target).addScaledVector(new THREE.Vector3(...eye), distance);
    this.orbit.update();
    this.dirty = true;
  }

  // Draw if anything changed; returns whether it did.
  draw() {
    this.orbit.update();
    if (!this.dirty) return false;
    this.dirty = false;
    this.renderer.render(this.scene, this.camera);
    return true;
  }
}

// Skinned meshes of a loaded .glb, ready to stand on the stage; each one's pelvis is its first bone.
function skinnedMeshes(model) {
  const meshes = [];
  model.traverse((node) => {
    if (!node.isSkinnedMesh) return;
    node.castShadow = node.receiveShadow = true;
    node.frustumCulled = false; // its box is that of the rest pose
    meshes.push(node);
  });
  return meshes;
}

function makeSun() {
  const sun = new THREE.DirectionalLight(0xfff6e8, 2.2);
  sun.castShadow = true;
  sun.shadow.mapSize.set(2048, 2048);
  sun.shadow.radius = 4;
  sun.shadow.bias = -0.0006;
  sun.shadow.normalBias = 0.012;
  Object.assign(sun.shadow.camera, { near: 1, far: 20 });
  return sun;
}

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

// One animation of the page's .glb on the stage. Several people on one character are several copies of it.
async function loadActor(bytes, settings, scene) {
  const model = await new THREE.GLTFLoader().parseAsync(bytes.slice(0), '');
  const stand = new THREE.Scene(); // brings the file's world to our floor and size
  if (settings.placement) {
    stand.matrix.fromArray(settings.placement);
    stand.matrixAutoUpdate = false;
  }
  stand.add(model.scene);
  scene.add(stand);

  let pelvises = skinnedMeshes(model.scene).map((mesh) => mesh.skeleton.bones[0]);
  if (settings.pelvis !== null) pelvises = [await model.parser.getDependency('node', settings.pelvis)];
  const materials = new Set();
  model.scene.traverse((node) => {
    if (node.isLight) node.visible = false; // the stage has its own
    if (!node.isMesh) return;
    node.castShadow = node.receiveShadow = true;
    node.frustumCulled = false;
    for (const material of [node.material].flat()) materials.add(material);
  });
  // Metal mirrors its surroundings, and there are none here: it would be black.
  for (const material of materials) if (material.metalness) material.metalness = 0;

  const mixer = new THREE.AnimationMixer(model.scene);
  const clip = model.animations[settings.animation];
  mixer.clipAction(clip).play();
  const seconds = Math.max(0, clip.duration - 1e-4); // at its very end it would begin anew
  return { stand, mixer, pelvises, seconds, paints: Array.from(materials, painter) };
}

// What paints a material in one colour, or, for null, as the file has it.
function painter(material) {
  const { map } = material;
  const own = material.color.clone();
  return (color) => {
    material.color.copy(own);
    if (color !== null) material.color.set(color);
    const wanted = color === null ? map : null;
    if (material.map !== wanted) material.needsUpdate = true;
    material.map = wanted;
  };
}
