// Strokes of the brush: what they make of the people's outlines, the same rules as mild_core/people/strokes.py.
//
// A stroke is {photo, number, mode, size, points, x, y}: mode "add" or "take"; size, the brush's diameter, as a share of
// the photo's longer side; points x, y, x, y as shares of its sides; x, y inside the person as they were found.

import { inside, meant } from './choice.js'
import { html } from './html.js'
import { thinned, traced } from './tracing.js'

const LONGEST = 1024 // pixels: masks are drawn at this longest side of what a person covers
const FINE = 0.04 // brush's diameters that a stored line may be beside the painted one

/** A painted line (x, y, x, y in pixels of the photo) as it is stored. */
export function storedPoints(line, { width, height }, diameter) {
  const share = (value, side) => Number(Math.min(1, Math.max(0, value / side)).toFixed(4))
  return thinned(line, Math.max(0.5, FINE * diameter)).map((value, i) => share(value, i % 2 ? height : width))
}

/** Where in the person, before any stroke, a stroke is kept. */
export const anchorOf = (person) => (person.before ?? person).point

/** The photos as they are with these strokes, from what a run showed with its own. */
export function withStrokes(photos, strokes) {
  return photos.map((photo, index) => corrected(unpainted(photo), strokes.filter((stroke) => stroke.photo === index)))
}

/** A photo without any strokes. */
function unpainted(photo) {
  const people = [
    ...photo.people.map(({ before, ...person }) => ({ ...person, ...before })),
    ...(photo.emptied ?? []).map((person) => ({ ...person, erased: false }))
  ]
  return { ...photo, emptied: [], people: people.sort((a, b) => a.number - b.number) }
}

function corrected(photo, strokes) {
  const own = new Map()
  for (const stroke of strokes) {
    const [x, y] = [stroke.x ?? stroke.points[0], stroke.y ?? stroke.points[1]]
    const person = meant(photo, { number: stroke.number, x, y })
    if (person) own.set(person, [...(own.get(person) ?? []), stroke])
  }
  if (!own.size) return photo
  const emptied = []
  const people = photo.people.flatMap((person) => {
    if (!own.has(person)) return [person]
    const after = painted(person, own.get(person), photo)
    if (!after) emptied.push(person)
    return after ? [after] : []
  })
  return { ...photo, people, emptied }
}

/** A person with their strokes; undefined if nothing is left of them. */
function painted(person, strokes, photo) {
  const long = Math.max(photo.width, photo.height)
  const [x0, y0, x1, y1] = frame(person, strokes, photo)
  const scale = Math.min(1, LONGEST / Math.max(x1 - x0, y1 - y0))
  const [width, height] = [Math.ceil((x1 - x0) * scale), Math.ceil((y1 - y0) * scale)]
  const context = html('canvas', { width, height }).getContext('2d', { willReadFrequently: true })
  context.setTransform(scale, 0, 0, scale, -x0 * scale, -y0 * scale)
  context.fill(outline(person.rings, photo), 'evenodd')
  context.lineCap = context.lineJoin = 'round'
  for (const { mode, size, points } of strokes) {
    context.globalCompositeOperation = mode === 'add' ? 'source-over' : 'destination-out'
    context.lineWidth = Math.max(1.5, size * long)
    context.stroke(outline([points], photo, false))
  }
  const { data } = context.getImageData(0, 0, width, height)
  const found = traced((x, y) => data[(y * width + x) * 4 + 3] > 127, width, height)
  if (!found.length) return undefined
  const share = (value, i) => (i % 2 ? (value / scale + y0) / photo.height : (value / scale + x0) / photo.width)
  const rings = found.map((ring) => ring.map(share))
  const { box, point } = person
  const after = { ...person, rings, box: boxOf(rings), before: { box, point, rings: person.rings } }
  if (!inside(after, ...point)) after.point = innerPoint(after)
  return after
}

/** What of the photo has to be looked at, in its pixels: the person, and what the brush adds. */
function frame(person, strokes, photo) {
  const long = Math.max(photo.width, photo.height)
  let [x0, y0, x1, y1] = person.box.map((share, i) => share * (i % 2 ? photo.height : photo.width))
  for (const { mode, size, points } of strokes)
    for (let i = 0; mode === 'add' && i < points.length; i += 2) {
      const [x, y, away] = [points[i] * photo.width, points[i + 1] * photo.height, (size * long) / 2 + 1]
      ;[x0, y0, x1, y1] = [Math.min(x0, x - away), Math.min(y0, y - away), Math.max(x1, x + away), Math.max(y1, y + away)]
    }
  return [Math.max(0, x0), Math.max(0, y0), Math.min(photo.width, x1), Math.min(photo.height, y1)]
}

/** Rings, or lines, as a path in pixels of the photo. */
export function outline(rings, { width, height }, closed = true) {
  const path = new Path2D()
  for (const ring of rings) {
    path.moveTo(ring[0] * width, ring[1] * height)
    for (let i = 2; i < ring.length; i += 2) path.lineTo(ring[i] * width, ring[i + 1] * height)
    if (closed) path.closePath()
    else if (ring.length === 2) path.lineTo(ring[0] * width + 0.01, ring[1] * height) // a line of no length is not drawn
  }
  return path
}

function boxOf(rings) {
  const box = [1, 1, 0, 0]
  for (const ring of rings)
    for (let i = 0; i < ring.length; i += 2) {
      box[0] = Math.min(box[0], ring[i])
      box[1] = Math.min(box[1], ring[i + 1])
      box[2] = Math.max(box[2], ring[i])
      box[3] = Math.max(box[3], ring[i + 1])
    }
  return box
}

/** A point in the middle of the widest stretch, among the rows that go through the person. */
function innerPoint(person) {
  const [x0, y0, x1, y1] = person.box
  let [best, widest] = [person.rings[0].slice(0, 2), 0]
  for (let row = 1; row < 32; row++) {
    const y = y0 + ((y1 - y0) * row) / 32
    let start
    for (let column = 0; column <= 64; column++) {
      const x = x0 + ((x1 - x0) * column) / 64
      const within = column < 64 && inside(person, x, y)
      if (within) start ??= x
      else if (start !== undefined) {
        if (x - start > widest) [best, widest] = [[(start + x) / 2, y], x - start]
        start = undefined
      }
    }
  }
  return best
}
