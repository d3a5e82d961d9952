// The photo with its people, as SVG: sharp at every zoom of the picture and of the graph.
//
// Who goes has hatching, a dashed outline and a cross on the badge; who stays has a solid outline and nothing else.

import { pushedApart } from './badges.js'

const SVG = 'http://www.w3.org/2000/svg'
const HATCH = 11 // pixels from one stripe to the next
const BADGE = 18 // pixels: a badge's height
const SMALL = 64 // pixels: people less tall on the screen get their badge at their feet, so that it hides no face

let drawings = 0

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  element.append(...children)
  return element
}

export class Drawing {
  constructor() {
    const id = `mild-hatch-${++drawings}`
    this.hatch = svg(
      'pattern',
      { id, width: HATCH, height: HATCH, patternUnits: 'userSpaceOnUse' },
      svg('rect', { width: HATCH, height: HATCH, class: 'mild-hatch-tint' }),
      svg('rect', { width: 2.6, height: HATCH, class: 'mild-hatch-line' }),
      svg('rect', { x: 2.6, width: 1, height: HATCH, class: 'mild-hatch-edge' })
    )
    this.fill = `url(#${id})`
    this.ground = svg('rect', { class: 'mild-ground' })
    this.image = svg('image', { preserveAspectRatio: 'none' })
    this.shapes = svg('g')
    this.world = svg('g', {}, this.ground, this.image, this.shapes)
    this.leaders = svg('g', { class: 'mild-leaders' })
    this.badges = svg('g')
    this.root = svg('svg', { 'aria-hidden': 'true' }, svg('defs', {}, this.hatch), this.world, this.leaders, this.badges)
    this.people = new Map() // key -> what is drawn of a person
  }

  /** Draw one photo; `keyed` its people as [key, person], `url` where the picture is (or nothing). */
  show(photo, keyed, url) {
    for (const element of [this.ground, this.image]) {
      element.setAttribute('width', photo.width)
      element.setAttribute('height', photo.height)
    }
    if (url) this.image.setAttribute('href', url)
    else this.image.removeAttribute('href')
    this.people.clear()
    for (const group of [this.shapes, this.leaders, this.badges]) group.replaceChildren()
    // The largest first: whoever is small lies on top, where they are seen and hit.
    const size = ([, { box }]) => (box[2] - box[0]) * (box[3] - box[1])
    for (const [key, person] of [...keyed].sort((a, b) => size(b) - size(a))) this.people.set(key, this.#added(photo, person))
  }

  #added(photo, person) {
    const d = person.rings.map((ring) => path(ring, photo.width, photo.height)).join('')
    const halo = svg('path', { d, class: 'mild-halo' })
    const line = svg('path', { d, class: 'mild-line', 'fill-rule': 'evenodd' })
    const shape = svg('g', { class: 'mild-person' }, halo, line)
    const digits = String(person.number)
    const width = Math.max(BADGE, 8 * digits.length + 10)
    const text = svg('text', { y: 4.2 }, digits)
    const back = svg('rect', { y: -BADGE / 2, height: BADGE, rx: 4 })
    const cross = svg('path', { d: 'M-3 -3L3 3M3 -3L-3 3', class: 'mild-cross' })
    const badge = svg('g', { class: 'mild-badge' }, back, cross, text)
    const leader = svg('line')
    this.shapes.append(shape)
    this.leaders.append(leader)
    this.badges.append(badge)
    return { person, shape, line, badge, back, text, cross, leader, narrow: width, width: width + 11, height: BADGE, x: 0, y: 0 }
  }

  /** Lay it out: the photo's pixel (0, 0) is at view.x, view.y, a pixel is view.scale large. */
  place(view, photo, width, height) {
    this.world.setAttribute('transform', `translate(${view.x} ${view.y}) scale(${view.scale})`)
    this.hatch.setAttribute('patternTransform', `scale(${1 / view.scale}) rotate(45)`)
    for (const drawn of this.people.values()) {
      const { box, point } = drawn.person
      const low = (box[3] - box[1]) * photo.height * view.scale < SMALL
      const [x, y] = low ? [(box[0] + box[2]) / 2, box[3]] : point
      drawn.x = view.x + x * photo.width * view.scale
      drawn.y = view.y + y * photo.height * view.scale - (low ? BADGE / 4 : 0)
    }
    pushedApart([...this.people.values()], width, height)
    for (const { badge, leader, person, left, top, x, y } of this.people.values()) {
      badge.setAttribute('transform', `translate(${left} ${top})`)
      const away = Math.hypot(left - x, top - y) > BADGE * 0.8
      const [px, py] = away ? person.point : [0, 0]
      leader.setAttribute('x1', left)
      leader.setAttribute('y1', top)
      leader.setAttribute('x2', away ? view.x + px * photo.width * view.scale : left)
      leader.setAttribute('y2', away ? view.y + py * photo.height * view.scale : top)
    }
  }

  /** Show who goes (a Set of keys), who is under the pointer, and who has the keyboard's focus. */
  mark(going, hovered, focused) {
    for (const [key, { shape, line, badge, back, text, cross, narrow, width }] of this.people) {
      const goes = going.has(key)
      for (const element of [shape, badge]) {
        element.classList.toggle('goes', goes)
        element.classList.toggle('hovered', key === hovered)
        element.classList.toggle('focused', key === focused)
      }
      line.setAttribute('fill', goes ? this.fill : 'transparent')
      const wide = goes ? width : narrow
      back.setAttribute('x', -wide / 2)
      back.setAttribute('width', wide)
      text.setAttribute('x', goes ? 6 : 0)
      cross.setAttribute('transform', `translate(${8.5 - wide / 2} 0)`)
    }
    const top = this.people.get(focused) ?? this.people.get(hovered)
    if (top) this.badges.append(top.badge)
  }

  /** The key of the number badge under a point; `least` is the smallest side of a target. */
  badgeAt(x, y, least) {
    let [best, nearest] = [undefined, Infinity]
    for (const [key, { left, top, width, height }] of this.people) {
      const [dx, dy] = [Math.abs(x - left), Math.abs(y - top)]
      if (dx > Math.max(width, least) / 2 || dy > Math.max(height, least) / 2) continue
      const away = Math.hypot(dx, dy)
      if (away < nearest) [best, nearest] = [key, away]
    }
    return best
  }
}

function path(ring, width, height) {
  const points = []
  for (let i = 0; i < ring.length; i += 2) points.push(`${(ring[i] * width).toFixed(1)} ${(ring[i + 1] * height).toFixed(1)}`)
  return `M${points.join('L')}Z`
}
