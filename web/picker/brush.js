// The brush: it adds to a person's mask, or takes from it, where the artist paints.

import { inside, keyOf, nearestPerson } from './choice.js'
import { clamp } from './badges.js'
import { Loupe } from './loupe.js'
import { anchorOf, storedPoints } from './strokes.js'

const [SMALLEST, LARGEST] = [0.001, 0.25] // diameters, as shares of the photo's longer side
const OTHER = { add: 'take', take: 'add' }
const COLOURS = { add: 'rgb(255 90 54 / 0.6)', take: 'rgb(0 0 0 / 0.65)' }

export class Brush {
  constructor(view) {
    this.view = view
    this.mode = undefined // "add", "take", or none: then a click chooses
    this.size = 0.015
    this.hand = false // the space bar is held: the picture is dragged
    this.line = undefined // what is being painted
    this.last = undefined // the number of the person who was painted or clicked last
    this.loupe = new Loupe()
  }

  /** Take this brush into the hand, or put it away if it is there already. */
  turnTo(mode) {
    this.cancel()
    this.mode = mode === this.mode ? undefined : mode
    this.view.pointed(undefined)
    this.view.update()
  }

  /** The place of the size on its slider, 0..100. */
  get step() {
    return (100 * Math.log(this.size / SMALLEST)) / Math.log(LARGEST / SMALLEST)
  }

  set step(step) {
    this.size = SMALLEST * (LARGEST / SMALLEST) ** (clamp(step, 0, 100) / 100)
    this.show()
    this.view.update()
  }

  /** Whose mask is painted from a point of the photo on: whoever is there, or nearest; again: whoever was last. */
  #target(point, again) {
    const { photo } = this.view
    return (again && photo.people.find((person) => person.number === this.last)) || nearestPerson(photo, ...point)
  }

  /** The pointer is at this place of the stage (nothing: it left). Whose mask would be painted. */
  hover(place, event) {
    this.at = place && this.view.photo && { ...place, point: this.view.shares(place.x, place.y) }
    const [u, v] = this.at?.point ?? []
    const over = u >= 0 && v >= 0 && u <= 1 && v <= 1
    this.person = over && !this.hand ? this.#target(this.at.point, again(event)) : undefined
    this.show()
    return this.person
  }

  press(place, event) {
    if (this.line || !this.hover(place, event)) return
    this.last = this.person.number
    const mode = event.shiftKey ? OTHER[this.mode] : this.mode
    const diameter = this.size * this.#long
    this.line = { mode, diameter, points: this.#pixel(place), pointer: event.pointerId, colour: COLOURS[mode] }
    this.show()
  }

  move(place, event) {
    if (event.pointerId !== this.line.pointer) return
    const events = event.getCoalescedEvents?.() ?? []
    for (const one of events.length ? events : [event]) {
      const [x, y] = this.#pixel(this.view.place(one))
      const { points } = this.line
      const moved = Math.hypot(x - points.at(-2), y - points.at(-1)) * this.view.view.scale
      if (moved >= 0.7) points.push(x, y)
    }
    this.at = { ...place, point: this.view.shares(place.x, place.y) }
    this.show()
  }

  /** The stroke is done: it is stored. */
  release(event) {
    const { line, person, view } = this
    if (event.pointerId !== line?.pointer) return
    this.line = undefined
    const points = storedPoints(line.points, view.photo, line.diameter)
    const [x, y] = anchorOf(person).map((share) => Number(share.toFixed(4)))
    const size = Number(this.size.toPrecision(4))
    const key = keyOf(view.page, person)
    view.picker.addStroke({ photo: view.page, number: person.number, mode: line.mode, size, points, x, y })
    view.focus(key)
    this.hover(this.at, event)
  }

  /** The stroke that is being painted is dropped; whether there was one. */
  cancel() {
    const { line } = this
    this.line = undefined
    this.show()
    return Boolean(line)
  }

  get #long() {
    const { width, height } = this.view.photo
    return Math.max(width, height)
  }

  /** A place of the stage in pixels of the photo, inside of it. */
  #pixel({ x, y }) {
    const { photo } = this.view
    const [u, v] = this.view.shares(x, y)
    return [clamp(u, 0, 1) * photo.width, clamp(v, 0, 1) * photo.height]
  }

  /** Draw the brush, the stroke and the loupe as they are now. */
  show() {
    const { at, line, person, view } = this
    const shown = this.mode && !this.hand && at && person
    view.drawing.markLine(line)
    if (!shown) {
      view.drawing.markBrush(undefined)
      return this.loupe.hide()
    }
    const radius = (this.size * this.#long) / 2
    view.drawing.markBrush({ x: at.x, y: at.y, radius: radius * view.view.scale })
    const { photo, full } = view
    const ratio = view.ratio
    // Where the picture itself is as large as on the screen, there is nothing more to see.
    if (!photo.image || view.view.scale * ratio >= 1) return this.loupe.hide()
    const [x, y] = [at.point[0] * photo.width, at.point[1] * photo.height]
    const onRight = at.x > view.stage.clientWidth / 2
    this.loupe.draw(photo, full.of(photo), { x, y, radius, person, line, ratio, onRight })
  }

  /** What is said beside the cursor. */
  tip(event) {
    const { texts } = this.view
    const { name, number } = this.person
    const mode = event?.shiftKey ? OTHER[this.mode] : this.mode
    return (mode === 'add' ? texts.addTo : texts.takeFrom)(texts.person(name, number))
  }
}

const again = (event) => Boolean(event?.ctrlKey || event?.metaKey)
