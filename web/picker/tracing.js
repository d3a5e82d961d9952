// Outlines of a raster: what the brush changed becomes rings again, as mild_core/people/outlines.py draws them.

const EXACT = 0.75 // pixels that a ring may be beside the edge: just enough to turn steps into slants
const SMALLEST_PART = 0.002 // parts and holes below this share of the largest part are left out

// From corner to corner with the raster's filled side on the right hand: east, south, west, north.
const WAYS = [[1, 0], [0, 1], [-1, 0], [0, -1]]
const LEFT_FIRST = [3, 0, 1] // parts that touch at a corner are one

/** The borders of a raster as rings, flat lists x, y, x, y in pixels. filled(x, y): whether that pixel counts. */
export function traced(filled, width, height) {
  const at = (x, y) => x >= 0 && y >= 0 && x < width && y < height && filled(x, y)
  const begins = (x, y, way) =>
    way === 0 ? at(x, y) && !at(x, y - 1)
    : way === 1 ? at(x - 1, y) && !at(x, y)
    : way === 2 ? at(x - 1, y - 1) && !at(x - 1, y)
    : at(x, y - 1) && !at(x - 1, y - 1)
  const seen = new Uint8Array((width + 1) * (height + 1) * 4)
  const side = (x, y, way) => (y * (width + 1) + x) * 4 + way
  const rings = []
  for (let top = 0; top < height; top++)
    for (let left = 0; left < width; left++) {
      // Every ring has a side that runs east.
      if (seen[side(left, top, 0)] || !begins(left, top, 0)) continue
      const ring = []
      let [x, y, way] = [left, top, 0]
      while (way !== undefined && !seen[side(x, y, way)]) {
        seen[side(x, y, way)] = 1
        const [dx, dy] = WAYS[way]
        ring.push(x + dx / 2, y + dy / 2) // the sides' middles make smaller steps than their corners
        ;[x, y] = [x + dx, y + dy]
        const from = way
        way = LEFT_FIRST.map((turn) => (from + turn) % 4).find((next) => begins(x, y, next))
      }
      rings.push(ring)
    }
  const areas = rings.map((ring) => Math.abs(ringArea(ring)))
  const least = SMALLEST_PART * Math.max(...areas, 0)
  return rings.filter((_, index) => areas[index] >= least).map((ring) => closedThinned(ring, EXACT))
}

/** The area in a ring; that of a hole, which runs the other way round, has the other sign. */
export function ringArea(ring) {
  let sum = 0
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) sum += ring[j] * ring[i + 1] - ring[i] * ring[j + 1]
  return sum / 2
}

function closedThinned(ring, exact) {
  if (ring.length <= 8) return ring
  let [far, most] = [0, -1]
  for (let i = 0; i < ring.length; i += 2) {
    const away = Math.hypot(ring[i] - ring[0], ring[i + 1] - ring[1])
    if (away > most) [far, most] = [i, away]
  }
  const there = thinned(ring.slice(0, far + 2), exact)
  const back = thinned([...ring.slice(far), ring[0], ring[1]], exact)
  return [...there, ...back.slice(2, -2)]
}

/** A line with fewer points, nowhere more than `exact` away from the one given (Douglas and Peucker 1973). */
export function thinned(line, exact) {
  const keep = new Set([0, line.length - 2])
  const parts = [[0, line.length - 2]]
  while (parts.length) {
    const [first, last] = parts.pop()
    let [worst, most] = [0, exact]
    for (let i = first + 2; i < last; i += 2) {
      const away = toSegment(line[i], line[i + 1], line[first], line[first + 1], line[last], line[last + 1])
      if (away > most) [worst, most] = [i, away]
    }
    if (!worst) continue
    keep.add(worst)
    parts.push([first, worst], [worst, last])
  }
  return [...keep].sort((a, b) => a - b).flatMap((i) => [line[i], line[i + 1]])
}

/** How far a point is from the line between two others. */
export function toSegment(x, y, ax, ay, bx, by) {
  const [dx, dy] = [bx - ax, by - ay]
  const along = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)))
  return Math.hypot(ax + along * dx - x, ay + along * dy - y)
}
