// The places of the number badges: at their people, pushed apart where they would overlap.

const GAP = 2 // pixels between two badges
const ROUNDS = 40 // of pushing apart, at most

/**
 * Badges {x, y, width, height} (x, y: the wanted middle) get `left` and `top`, the middle where they are drawn. Those
 * whose wanted middle is outside the picture stay there.
 */
export function pushedApart(badges, width, height) {
  const seen = badges.filter((badge) => badge.x >= 0 && badge.y >= 0 && badge.x <= width && badge.y <= height)
  for (const badge of badges) [badge.left, badge.top] = [badge.x, badge.y]
  for (let round = 0; round < ROUNDS; round++) {
    let moved = false
    for (let i = 0; i < seen.length; i++)
      for (let j = i + 1; j < seen.length; j++) moved = push(seen[i], seen[j]) || moved
    for (const badge of seen) {
      badge.left = clamp(badge.left, badge.width / 2 + 1, width - badge.width / 2 - 1)
      badge.top = clamp(badge.top, badge.height / 2 + 1, height - badge.height / 2 - 1)
    }
    if (!moved) break
  }
}

function push(a, b) {
  const [dx, dy] = [b.left - a.left, b.top - a.top]
  const x = (a.width + b.width) / 2 + GAP - Math.abs(dx)
  const y = (a.height + b.height) / 2 + GAP - Math.abs(dy)
  if (x <= 0 || y <= 0) return false
  // Two at the same place are moved to the left and to the right, in the order of their numbers.
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
