// Where the number plates stand: at their people, pushed apart where they would lie on each other.

const GAP = 2
const ROUNDS = 40

/**
 * Plates {x, y, width, height} (x, y: where each would like to be in the middle) get `left` and `top`, the middle of
 * where they stand. Those that would like to be outside the picture are left alone.
 */
export function pushedApart(plates, width, height) {
  const seen = plates.filter((plate) => plate.x >= 0 && plate.y >= 0 && plate.x <= width && plate.y <= height)
  for (const plate of plates) [plate.left, plate.top] = [plate.x, plate.y]
  for (let round = 0; round < ROUNDS; round++) {
    let moved = false
    for (let i = 0; i < seen.length; i++)
      for (let j = i + 1; j < seen.length; j++) moved = push(seen[i], seen[j]) || moved
    for (const plate of seen) {
      plate.left = clamp(plate.left, plate.width / 2 + 1, width - plate.width / 2 - 1)
      plate.top = clamp(plate.top, plate.height / 2 + 1, height - plate.height / 2 - 1)
    }
    if (!moved) break
  }
}

function push(a, b) {
  const [dx, dy] = [b.left - a.left, b.top - a.top]
  const x = (a.width + b.width) / 2 + GAP - Math.abs(dx)
  const y = (a.height + b.height) / 2 + GAP - Math.abs(dy)
  if (x <= 0 || y <= 0) return false
  // Two at the very same place part from left to right, in the order of their numbers.
  if (x < y) {
    const step = ((dx < 0 ? -1 : 1) * x) / 2
    a.left -= step
    b.left += step
  } else {
    const step = ((dy < 0 ? -1 : 1) * y) / 2
    a.top -= step
    b.top += step
  }
  return true
}

export function clamp(value, least, most) {
  return Math.max(least, Math.min(Math.max(least, most), value))
}
