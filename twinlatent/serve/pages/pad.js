// The drawing area: strokes by finger, mouse or keys.

const STEP = 10; // pixels that an arrow key moves the pen
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Pad {
  /** `changed` is called after each stroke. */
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.strokes = [];
    this.pen = null; // where keys draw from
    this.drawing = null; // the pointer that draws
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.up(event));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("keyup", (event) => { if (event.key === "Shift") this.end(); });
    canvas.addEventListener("focus", () => this.show());
    canvas.addEventListener("blur", () => { this.end(); this.show(); });
  }

  get size() {
    return this.canvas.width;
  }

  clear() {
    this.strokes = [];
    this.pen = null;
    this.byKey = false;
    this.show();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.size / box.width, (event.clientY - box.top) * this.size / box.height];
  }

  down(event) {
    if (this.drawing !== null || event.button) return;
    this.drawing = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.pen = null;
    this.strokes.push([this.place(event)]);
    this.show();
  }

  move(event) {
    if (event.pointerId !== this.drawing) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    this.strokes.at(-1).push(...(passed.length ? passed : [event]).map((one) => this.place(one)));
    this.show();
  }

  up(event) {
    if (event.pointerId !== this.drawing) return;
    this.drawing = null;
    this.changed();
  }

  key(event) {
    if (event.key === "Backspace" && this.strokes.length) {
      event.preventDefault();
      this.strokes.pop();
      this.byKey = false;
      this.show();
      this.changed();
    }
    const way = KEYS[event.key];
    if (!way) return;
    event.preventDefault();
    const from = this.pen ?? [this.size / 2, this.size / 4];
    this.pen = from.map((value, i) => Math.min(this.size, Math.max(0, value + STEP * way[i])));
    if (event.shiftKey) {
      if (!this.byKey) this.strokes.push([from]);
      this.byKey = true;
      this.strokes.at(-1).push(this.pen);
    } else {
      this.end();
    }
    this.show();
  }

  /** End a stroke that keys drew. */
  end() {
    if (!this.byKey) return;
    this.byKey = false;
    this.changed();
  }

  show() {
    const context = this.canvas.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.size, this.size);
    context.strokeStyle = "#fff";
    context.lineWidth = this.size / 13;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) {
      context.beginPath();
      context.moveTo(...stroke[0]);
      for (const point of [stroke[0], ...stroke]) context.lineTo(...point);
      context.stroke();
    }
    if (this.pen && document.activeElement === this.canvas) {
      context.strokeStyle = "#f2b45c";
      context.lineWidth = 2;
      context.beginPath();
      context.arc(...this.pen, this.size / 26 + 2, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}
