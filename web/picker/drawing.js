// The photo with its people, as SVG: sharp at every zoom of the picture and of the graph.
//
// Who goes has hatching, a dashed outline and a cross on the badge; who stays has a solid outline and nothing else. What
// goes with them (shadows, reflections, carried things) is hatched the other way, with a dotted outline and its name;
// refused, it is only outlined. What belongs to people who stay is faint.

import { pushedApart } from './badges.js'
import { keyOf } from './choice.js'
import { effectsOf } from './effects.js'

const SVG = 'http://www.w3.org/2000/svg'
const HATCH = 11 // pixels from one stripe to the next
const BADGE = 18 // pixels: a badge's height
const NAMED = 44 // pixels: effects less long on the screen have no badge of their own: it would hide them
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
    this.hatches = [hatch(id, 2.6), hatch(`${id}-effect`, 1.2)]
    this.fills = [`url(#${id})`, `url(#${id}-effect)`]
    this.ground = svg('rect', { class: 'mild-ground' })
    this.image = svg('image', { preserveAspectRatio: 'none' })
    this.shapes = svg('g')
    this.line = svg('path', { class: 'mild-stroke' }) // what the brush paints just now
    this.world = svg('g', {}, this.ground, this.image, this.shapes, this.line)
    this.leaders = svg('g', { class: 'mild-leaders' })
    this.badges = svg('g')
    this.brush = svg('g', { class: 'mild-brush' }, svg('circle'), svg('circle'))
    const parts = [svg('defs', {}, ...this.hatches), this.world, this.leaders, this.badges, this.brush]
    this.root = svg('svg', { 'aria-hidden': 'true' }, ...parts)
    this.things = new Map() // key -> what is drawn of a person or an effect
  }

  /** Draw photo number `index`; url: where the picture is (or nothing); nameOf(kind): what an effect is called. */
  show(photo, index, url, nameOf) {
    for (const element of [this.ground, this.image]) {
      element.setAttribute('width', photo.width)
      element.setAttribute('height', photo.height)
    }
    if (url) this.image.setAttribute('href', url)
    else this.image.removeAttribute('href')
    this.things.clear()
    for (const group of [this.shapes, this.leaders, this.badges]) group.replaceChildren()
    // The largest first: whoever is small lies on top, where they are seen and hit.
    const size = ({ box }) => (box[2] - box[0]) * (box[3] - box[1])
    const people = [...photo.people].sort((a, b) => size(b) - size(a))
    for (const person of people)
      for (const [key, effect] of effectsOf(index, person))
        this.#add(key, photo, effect, nameOf(effect.kind), { effect, owner: keyOf(index, person), person })
    for (const person of people) this.#add(keyOf(index, person), photo, person, String(person.number), { person })
  }

  #add(key, photo, thing, label, more) {
    const d = thing.rings.map((ring) => path(ring, photo.width, photo.height)).join('')
    const halo = svg('path', { d, class: 'mild-halo' })
    const line = svg('path', { d, class: 'mild-line', 'fill-rule': 'evenodd' })
    const kind = more.effect ? 'mild-effect' : 'mild-person'
    const shape = svg('g', { class: kind }, halo, line)
    const letters = [...label].reduce((sum, letter) => sum + (letter > '\u2e80' ? 12 : more.effect ? 6.2 : 8), 0)
    const width = Math.max(BADGE, letters + 10)
    const text = svg('text', { y: 4.2 }, label)
    const back = svg('rect', { y: -BADGE / 2, height: BADGE, rx: more.effect ? BADGE / 2 : 4 })
    const cross = svg('path', { d: 'M-3 -3L3 3M3 -3L-3 3', class: 'mild-cross' })
    const badge = svg('g', { class: `mild-badge ${kind}` }, back, cross, text)
    const leader = svg('line')
    this.shapes.append(shape)
    this.leaders.append(leader)
    this.badges.append(badge)
    const parts = { shape, line, badge, back, text, cross, leader }
    this.things.set(key, { thing, ...more, ...parts, narrow: width, width: width + 11, height: BADGE, x: 0, y: 0 })
  }

  /** Lay it out: the photo's pixel (0, 0) is at view.x, view.y, a pixel is view.scale large. */
  place(view, photo, width, height) {
    this.world.setAttribute('transform', `translate(${view.x} ${view.y}) scale(${view.scale})`)
    this.hatches.forEach((one, i) => one.setAttribute('patternTransform', `scale(${1 / view.scale}) rotate(${i ? -60 : 45})`))
    for (const drawn of this.things.values()) {
      const { box, point } = drawn.thing
      const long = Math.max((box[2] - box[0]) * photo.width, (box[3] - box[1]) * photo.height) * view.scale
      drawn.quiet = Boolean(drawn.effect) && (drawn.faint || long < NAMED)
      for (const element of [drawn.badge, drawn.leader]) element.classList.toggle('quiet', drawn.quiet)
      const low = !drawn.effect && (box[3] - box[1]) * photo.height * view.scale < SMALL
      const [x, y] = low ? [(box[0] + box[2]) / 2, box[3]] : point
      drawn.x = view.x + x * photo.width * view.scale
      drawn.y = view.y + y * photo.height * view.scale - (low ? BADGE / 4 : 0)
    }
    const badges = [...this.things.values()].filter((drawn) => !drawn.quiet)
    pushedApart(badges, width, height)
    for (const { badge, leader, thing, left, top, x, y } of badges) {
      badge.setAttribute('transform', `translate(${left} ${top})`)
      const away = Math.hypot(left - x, top - y) > BADGE * 0.8
      const [px, py] = away ? thing.point : [0, 0]
      leader.setAttribute('x1', left)
      leader.setAttribute('y1', top)
      leader.setAttribute('x2', away ? view.x + px * photo.width * view.scale : left)
      leader.setAttribute('y2', away ? view.y + py * photo.height * view.scale : top)
    }
  }

  /** Show who goes and what is taken (Sets of keys), what is under the pointer, and what has the keyboard's focus. */
  mark(going, taken, hovered, focused) {
    for (const [key, drawn] of this.things) {
      const { effect, shape, line, badge, back, text, cross, narrow, width } = drawn
      drawn.faint = Boolean(effect) && !going.has(drawn.owner)
      const goes = !drawn.faint && (effect ? taken : going).has(key)
      for (const element of [shape, badge]) {
        element.classList.toggle('goes', goes)
        element.classList.toggle('faint', drawn.faint)
        element.classList.toggle('hovered', key === hovered)
        element.classList.toggle('focused', key === focused)
      }
      line.setAttribute('fill', goes ? this.fills[effect ? 1 : 0] : 'transparent')
      const wide = goes ? width : narrow
      back.setAttribute('x', -wide / 2)
      back.setAttribute('width', wide)
      text.setAttribute('x', goes ? 6 : 0)
      cross.setAttribute('transform', `translate(${8.5 - wide / 2} 0)`)
    }
    const top = this.things.get(focused) ?? this.things.get(hovered)
    if (top) this.badges.append(top.badge)
  }

  /** Show the brush: {x, y, radius} in pixels of the stage, or nothing. */
  markBrush(brush) {
    this.brush.setAttribute('visibility', brush ? 'visible' : 'hidden')
    if (!brush) return
    for (const circle of this.brush.children) {
      circle.setAttribute('cx', brush.x)
      circle.setAttribute('cy', brush.y)
      circle.setAttribute('r', Math.max(1.5, brush.radius))
    }
  }

  /** Show the line that is being painted: {mode, points, diameter} in pixels of the photo, or nothing. */
  markLine(line) {
    this.line.setAttribute('visibility', line ? 'visible' : 'hidden')
    if (!line) return
    const [x, y, ...rest] = line.points
    this.line.setAttribute('d', `M${x} ${y}L${rest.length ? rest.join(' ') : `${x} ${y}`}`)
    this.line.setAttribute('stroke-width', line.diameter)
    this.line.classList.toggle('takes', line.mode === 'take')
  }

  /** The key of the badge under a point; `least` is the smallest side of a target. */
  badgeAt(x, y, least) {
    let [best, nearest] = [undefined, Infinity]
    for (const [key, { left, top, width, height, quiet }] of this.things) {
      if (quiet) continue
      const [dx, dy] = [Math.abs(x - left), Math.abs(y - top)]
      if (dx > Math.max(width, least) / 2 || dy > Math.max(height, least) / 2) continue
      const away = Math.hypot(dx, dy)
      if (away < nearest) [best, nearest] = [key, away]
    }
    return best
  }
}

function hatch(id, line) {
  return svg(
    'pattern',
    { id, width: HATCH, height: HATCH, patternUnits: 'userSpaceOnUse' },
    svg('rect', { width: HATCH, height: HATCH, class: 'mild-hatch-tint' }),
    svg('rect', { width: line, height: HATCH, class: 'mild-hatch-line' }),
    svg('rect', { x: line, width: 1, height: HATCH, class: 'mild-hatch-edge' })
  )
}

function path(ring, width, height) {
  const points = []
  for (let i = 0; i < ring.length; i += 2) points.push(`${(ring[i] * width).toFixed(1)} ${(ring[i + 1] * height).toFixed(1)}`)
  return `M${points.join('L')}Z`
}
