// Strokes of a pen -> the pixels of a small picture. Pure functions, no document.
//
// A stroke is a list of points [x, y] in any unit; a picture is a Float64Array, row by row, 0 for black to 1 for white.

/** Side of the box that a drawing is scaled into, and width of the pen, as shares of the picture's side: MNIST's. */
export const BOX = 20 / 28;
export const PEN = 2.4 / 28;

/**
 * A drawing framed as MNIST's digits are: scaled, its shape kept, into a box of 20/28 of the side, its centre of mass
 * on the picture's. The pen is as thick in every drawing, however large it was drawn.
 */
export function framed(strokes, side) {
  const pen = PEN * side;
  const points = strokes.flat();
  if (!points.length) return new Float64Array(side * side);
  const [left, top, right, bottom] = bounds(points);
  const scale = (BOX * side - pen) / Math.max(right - left, bottom - top, 1e-9);
  const about = points.length > 1 && Math.max(right - left, bottom - top) > 0 ? scale : 1;
  const middle = side / 2;
  const placed = moved(strokes, about, middle - about * (left + right) / 2, middle - about * (top + bottom) / 2);
  const [x, y] = centreOfMass(inked(placed, side, pen), side);
  // MNIST's centre of mass is on the middle of the pixel right of and below the centre.
  return inked(moved(placed, 1, middle + 0.5 - x, middle + 0.5 - y), side, pen);
}

/** The same, where it was drawn: `size` is the width and height of what it was drawn on. */
export function unframed(strokes, size, side) {
  return inked(moved(strokes, side / size, 0, 0), side, PEN * side);
}

function moved(strokes, scale, dx, dy) {
  return strokes.map((stroke) => stroke.map(([x, y]) => [scale * x + dx, scale * y + dy]));
}

export function bounds(points) {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** How much of each pixel a round pen of that width covers, about: 1 less the distance from its edge. */
function inked(strokes, side, pen) {
  const picture = new Float64Array(side * side);
  const reach = pen / 2 + 0.5;
  for (const stroke of strokes) {
    for (let i = 0; i < Math.max(stroke.length - 1, Math.min(stroke.length, 1)); i += 1) {
      const a = stroke[i];
      const b = stroke[i + 1] ?? a;
      const [left, top, right, bottom] = bounds([a, b]);
      for (let y = Math.max(0, Math.floor(top - reach)); y <= Math.min(side - 1, Math.ceil(bottom + reach)); y += 1) {
        for (let x = Math.max(0, Math.floor(left - reach)); x <= Math.min(side - 1, Math.ceil(right + reach)); x += 1) {
          const ink = Math.min(1, Math.max(0, reach - distance(x + 0.5, y + 0.5, a, b)));
          picture[y * side + x] = Math.max(picture[y * side + x], ink);
        }
      }
    }
  }
  return picture;
}

function distance(x, y, [ax, ay], [bx, by]) {
  const length = (bx - ax) ** 2 + (by - ay) ** 2;
  const along = length ? Math.min(1, Math.max(0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length)) : 0;
  return Math.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay));
}

/** [x, y], the middle of a pixel being at .5; the picture's centre where it is black. */
export function centreOfMass(picture, side) {
  let sum = 0, x = 0, y = 0;
  picture.forEach((value, i) => {
    sum += value;
    x += value * (i % side + 0.5);
    y += value * (Math.floor(i / side) + 0.5);
  });
  return sum ? [x / sum, y / sum] : [side / 2, side / 2];
}
