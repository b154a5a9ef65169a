// Plays what there is: play, pause, scrub, speed. While motion is being made it waits for the next frame.

export class Player {
  // on.show(frame) poses the figures; on.change() is called when it starts or stops.
  constructor(fps, on) {
    this.fps = fps;
    this.on = on;
    this.frame = 0; // with its fraction
    this.frames = 0;
    this.speed = 1;
    this.playing = false;
    this.growing = false;
  }

  get shown() { return Math.max(0, Math.min(Math.floor(this.frame + 1e-6), this.frames - 1)); }

  setFrames(frames) {
    this.frames = frames;
    this.frame = Math.min(this.frame, Math.max(0, frames - 1));
    this.on.show(this.frame);
  }

  setPlaying(playing) {
    this.playing = playing && (this.frames > 1 || this.growing);
    this.on.change();
  }

  seek(frame) {
    this.frame = Math.max(0, Math.min(this.frames - 1, frame));
    this.on.show(this.frame);
  }

  step(frames) {
    this.setPlaying(false);
    this.seek(Math.round(this.frame) + frames);
  }

  // Time goes on by `seconds`; the first picture's time may lie a little before the clock was started.
  advance(seconds) {
    if (!this.playing || this.frames < 2 || seconds <= 0) return;
    let frame = this.frame + seconds * this.fps * this.speed;
    if (this.growing) frame = Math.min(frame, this.frames - 1);
    else if (frame >= this.frames) frame %= this.frames; // the last picture stays for its share of time
    if (frame === this.frame) return;
    this.frame = frame;
    this.on.show(frame);
  }
}
