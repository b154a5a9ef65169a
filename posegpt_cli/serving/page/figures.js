// Figures on the stage: the server's body, posed by numbers, one for each motion.

const GAP = 1.25; // metres between neighbours
const PAST = '#b3b9c2';
const COLORS = ['#ffffff', '#fff0e6', '#e9f2ff', '#ebf8ea', '#f9ecf8', '#fffae4', '#e9f8f7', '#f2eeff', '#ffeff1'];

export class Figures {
  // about: the answer of /api/actions; bytes: the .glb of /api/body.
  constructor(stage, about, bytes) {
    this.stage = stage;
    this.about = about;
    this.bytes = bytes;
    this.all = [];
    this.actors = []; // on a character of the user's own, in place of our figures
  }

  get pelvises() {
    if (this.actors.length) return this.actors.flatMap((actor) => actor.pelvises);
    return this.all.map((figure) => figure.pelvis);
  }

  get frames() { return Math.max(0, ...this.all.map((figure) => figure.frames)); }

  // As many figures as there are motions.
  async setCount(n) {
    while (this.all.length < n) this.all.push(await this.make());
    for (const figure of this.all.splice(n)) this.stage.scene.remove(figure.scene);
    this.all.forEach((figure, k) => {
      figure.offset = (k - (n - 1) / 2) * GAP;
      figure.color = n === 1 ? '#ffffff' : COLORS[k % COLORS.length];
    });
  }

  async make() {
    const loaded = await new THREE.GLTFLoader().parseAsync(this.bytes.slice(0), '');
    const [mesh] = skinnedMeshes(loaded.scene);
    // All figures share one mesh on the graphics card; each has its own bones and colour.
    if (this.all.length) mesh.geometry = this.all[0].mesh.geometry;
    const byName = new Map(mesh.skeleton.bones.map((bone) => [bone.name, bone]));
    const bones = this.about.joints.map((name) => byName.get(name));
    this.stage.scene.add(loaded.scene);
    return { scene: loaded.scene, mesh, bones, pelvis: bones[0], frames: 0, trans: [], turns: [], past: 0, offset: 0, color: '#ffffff' };
  }

  clear() {
    for (const figure of this.all) Object.assign(figure, { frames: 0, trans: [], turns: [], past: 0 });
  }

  // Put frames of motion k from frame `first` on; `data` as it comes from the server.
  put(k, first, data, past = 0) {
    const figure = this.all[k];
    const width = 3 + 3 * this.about.joints.length;
    const n = data.length / width;
    figure.trans.length = figure.turns.length = first;
    for (let t = 0; t < n; t += 1) {
      const row = data.subarray(t * width, (t + 1) * width);
      figure.trans.push(row.subarray(0, 3));
      figure.turns.push(toQuaternions(row.subarray(3)));
    }
    figure.frames = first + n;
    figure.past = past;
  }

  // Show the motions on a character: the answer of /api/stage; without one, on our own body again.
  async setActors(answer) {
    const bytes = answer && Uint8Array.from(atob(answer.glb), (c) => c.charCodeAt(0)).buffer;
    const actors = [];
    for (const actor of answer?.actors ?? []) actors.push(await loadActor(bytes, actor, this.stage.scene));
    for (const actor of this.actors) this.stage.scene.remove(actor.stand);
    this.actors = actors;
    for (const figure of this.all) figure.scene.visible = !actors.length;
  }

  // Pose all figures at a frame, with its fraction.
  pose(frame) {
    this.actors.forEach((actor, k) => {
      actor.mixer.setTime(Math.min(frame / this.about.fps, actor.seconds));
      actor.stand.updateMatrixWorld(true);
      const isPast = Math.floor(frame) < (this.all[k]?.past ?? 0);
      for (const paint of actor.paints) paint(isPast ? PAST : null);
    });
    const [x, y, z] = this.about.pelvis;
    for (const figure of this.all) {
      if (!figure.frames) continue;
      const at = Math.min(frame, figure.frames - 1);
      const before = Math.floor(at);
      const after = Math.min(before + 1, figure.frames - 1);
      const share = at - before;
      const mix = (a, b) => a + (b - a) * share;
      const [from, to] = [figure.trans[before], figure.trans[after]];
      figure.pelvis.position.set(mix(from[0], to[0]) + x + figure.offset, mix(from[1], to[1]) + y, mix(from[2], to[2]) + z);
      mixTurns(figure.bones, figure.turns[before], figure.turns[after], share);
      figure.mesh.material.color.set(before < figure.past ? PAST : figure.color);
      figure.scene.updateMatrixWorld(true);
    }
  }
}

// Rotation vectors (3 J) to quaternions x, y, z, w (4 J).
function toQuaternions(rotvecs) {
  const turns = new Float32Array((rotvecs.length / 3) * 4);
  for (let j = 0; j < rotvecs.length / 3; j += 1) {
    const [x, y, z] = rotvecs.subarray(3 * j, 3 * j + 3);
    const angle = Math.hypot(x, y, z);
    const scale = angle > 1e-8 ? Math.sin(angle / 2) / angle : 0.5;
    turns.set([x * scale, y * scale, z * scale, Math.cos(angle / 2)], 4 * j);
  }
  return turns;
}

// Between two frames a turn hardly changes: mixing the numbers is as good as walking along the arc.
function mixTurns(bones, from, to, share) {
  for (let j = 0; j < bones.length; j += 1) {
    const [a, b] = [from.subarray(4 * j, 4 * j + 4), to.subarray(4 * j, 4 * j + 4)];
    const sign = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3] < 0 ? -1 : 1; // q and -q are one turn
    const mix = (k) => a[k] * (1 - share) + sign * b[k] * share;
    bones[j].quaternion.set(mix(0), mix(1), mix(2), mix(3)).normalize();
  }
}
