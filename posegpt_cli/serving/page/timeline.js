// The track of segments under the scrubber: click selects, an edge changes the length, a block moves.

const LEAST = 6; // frames of a segment
const WITHOUT_LENGTH = 64; // frames that a block is drawn with before its motion is there

export class Timeline {
  // on.select(k), on.change(segments): called with what was dragged, when it is let go.
  constructor(track, fps, on) {
    this.track = track;
    this.fps = fps;
    this.on = on;
  }

  // segments: as in the state; made: frames that a segment without a length has become; past: frames before.
  draw(segments, selected, made, past = 0) {
    this.segments = segments;
    this.track.replaceChildren();
    if (past) this.track.append(this.block(past, 'given', `${(past / this.fps).toFixed(1)} s`, 'past'));
    segments.forEach((segment, k) => {
      const frames = segment.frames ?? made ?? WITHOUT_LENGTH;
      const name = segment.actions.join(' + ') || 'anything';
      const length = segment.frames || made ? `${(frames / this.fps).toFixed(1)} s` : 'usual length';
      const block = this.block(frames, name, segment.style ? `${segment.style} · ${length}` : length);
      block.setAttribute('role', 'option');
      block.setAttribute('aria-selected', k === selected);
      block.dataset.segment = k;
      const edge = document.createElement('i');
      edge.className = 'edge';
      edge.title = 'Drag for the length';
      block.append(edge);
      block.onpointerdown = (event) => this.grab(event, k, frames, event.target === edge);
      this.track.append(block);
    });
  }

  block(frames, title, about, kind = '') {
    const block = document.createElement('div');
    block.className = `block ${kind}`;
    block.style.flexGrow = frames;
    block.dataset.frames = frames;
    const [name, detail] = [document.createElement('span'), document.createElement('small')];
    name.textContent = title;
    detail.textContent = about;
    block.append(name, detail);
    return block;
  }

  grab(event, k, frames, isEdge) {
    event.preventDefault();
    const block = event.currentTarget;
    const perFrame = block.getBoundingClientRect().width / frames;
    const start = event.clientX;
    let length = frames;
    let place = k;
    block.setPointerCapture(event.pointerId);

    block.onpointermove = (moved) => {
      const distance = moved.clientX - start;
      if (isEdge) {
        length = Math.max(LEAST, Math.round(frames + distance / perFrame));
        block.style.flexGrow = length;
        block.querySelector('small').textContent = `${(length / this.fps).toFixed(1)} s`;
      } else if (Math.abs(distance) > 8) {
        block.classList.add('dragged');
        block.style.transform = `translateX(${distance}px)`;
        place = this.placeAt(moved.clientX, k);
      }
    };
    block.onpointerup = block.onpointercancel = () => {
      block.onpointermove = block.onpointerup = block.onpointercancel = null;
      block.style.transform = '';
      block.classList.remove('dragged');
      if (isEdge && length !== frames) this.on.change(this.segments.with(k, { ...this.segments[k], frames: length }), k);
      else if (place !== k) this.on.change(moved(this.segments, k, place), place);
      else this.on.select(k);
    };
  }

  // Which place of the track a pointer is over, for segment k that is being moved.
  placeAt(x, k) {
    const blocks = [...this.track.querySelectorAll('[data-segment]')];
    let place = 0;
    blocks.forEach((block, other) => {
      if (other === k) return;
      const { left, width } = block.getBoundingClientRect();
      if (x > left + width / 2) place += 1;
    });
    return place;
  }
}

function moved(list, from, to) {
  const rest = list.toSpliced(from, 1);
  return rest.toSpliced(to, 0, list[from]);
}
