// Pictures of any size -> the values that a model takes, and back to what can be shown. Pure functions, no document.

/** Bytes of red, green, blue and alpha, as a canvas gives them -> planes: [grey] or [red, green, blue], 0 to 255. */
export function planes(rgba, channels) {
  const count = rgba.length / 4;
  const found = Array.from({ length: channels }, () => new Float64Array(count));
  for (let i = 0; i < count; i += 1) {
    const alpha = rgba[4 * i + 3] / 255;
    const [r, g, b] = [0, 1, 2].map((c) => Math.round(alpha * rgba[4 * i + c] + (1 - alpha) * 255));
    if (channels === 1) found[0][i] = (19595 * r + 38470 * g + 7471 * b + 32768) >> 16;
    else [r, g, b].forEach((value, c) => { found[c][i] = value; });
  }
  return found;
}

/** A plane of width × height resized to toWidth × toHeight, bilinear over all pixels that fall on one when shrinking. */
export function resized(plane, width, height, toWidth, toHeight) {
  const across = weights(width, toWidth);
  const down = weights(height, toHeight);
  const narrow = new Float64Array(toWidth * height);
  for (let y = 0; y < height; y += 1) {
    across.forEach(([first, shares], x) => {
      narrow[y * toWidth + x] = shares.reduce((sum, share, k) => sum + share * plane[y * width + first + k], 0);
    });
  }
  const small = new Float64Array(toWidth * toHeight);
  down.forEach(([first, shares], y) => {
    for (let x = 0; x < toWidth; x += 1) {
      small[y * toWidth + x] = shares.reduce((sum, share, k) => sum + share * narrow[(first + k) * toWidth + x], 0);
    }
  });
  return small;
}

/** Of each place, the first pixel that counts and the shares of those from there on: a triangle as wide as a pixel. */
function weights(from, to) {
  const scale = from / to;
  const support = Math.max(1, scale);
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support + 0.5));
    const last = Math.min(from, Math.floor(centre + support + 0.5));
    const shares = [];
    for (let i = first; i < last; i += 1) shares.push(Math.max(0, 1 - Math.abs(i + 0.5 - centre) / support));
    const sum = shares.reduce((a, b) => a + b, 0);
    return [first, shares.map((share) => share / sum)];
  });
}

/** Planes in [0, 1] -> lists channels × height × width, as the server takes them. */
export function nested(picture, height, width) {
  return picture.map((plane) => Array.from({ length: height }, (_, y) => (
    Array.from(plane.slice(y * width, (y + 1) * width))
  )));
}

/** Lists channels × height × width -> planes. */
export function flat(image) {
  return image.map((rows) => Float64Array.from(rows.flat()));
}

/** Bytes that hold channel after channel, in base64 -> planes in [0, 1]. */
export function unpacked(base64, channels) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const size = bytes.length / channels;
  return Array.from({ length: channels }, (_, c) => Float64Array.from(bytes.subarray(c * size, (c + 1) * size), (v) => v / 255));
}

/** Planes in [0, 1] -> bytes of red, green, blue and alpha, for a canvas. */
export function shown(picture) {
  const count = picture[0].length;
  const rgba = new Uint8ClampedArray(4 * count);
  for (let i = 0; i < count; i += 1) {
    for (let c = 0; c < 3; c += 1) rgba[4 * i + c] = Math.round(255 * (picture[c] ?? picture[0])[i]);
    rgba[4 * i + 3] = 255;
  }
  return rgba;
}

/**
 * The change from one picture to another, the mean of its channels: white for none, blue for darker, orange for brighter, full colour at ±epsilon.
 */
export function difference(before, after, epsilon) {
  const count = before[0].length;
  const rgba = new Uint8ClampedArray(4 * count);
  for (let i = 0; i < count; i += 1) {
    const change = before.reduce((sum, plane, c) => sum + after[c][i] - plane[i], 0) / before.length;
    const share = Math.max(-1, Math.min(1, change / (epsilon || 1)));
    const full = share < 0 ? [0x1f, 0x6f, 0xc8] : [0xd9, 0x5f, 0x0e];
    full.forEach((colour, c) => { rgba[4 * i + c] = Math.round(255 + Math.abs(share) * (colour - 255)); });
    rgba[4 * i + 3] = 255;
  }
  return rgba;
}
