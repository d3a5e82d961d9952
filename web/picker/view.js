// What the people picker looks like, and what mouse and keyboard do in it.

import { everyone, inside, keyOf, personAt } from './choice.js'
import { Drawing } from './drawing.js'
import { clamp } from './badges.js'

const TARGET = 24 // smallest side of a badge's target, in pixels of the screen
const CLOSEST = 12 // the largest zoom
const DRAG = 4 // pixels of the screen that a pointer moves before a click becomes a drag
const STEP = 1.25 // one click of the zoom buttons

function html(name, attributes = {}, ...children) {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  element.append(...children)
  return element
}

export class View {
  constructor(picker, texts) {
    this.picker = picker
    this.texts = texts
    this.page = 0
    this.zoom = 1
    this.centre = [0.5, 0.5] // which point of the photo is in the middle
    this.view = { x: 0, y: 0, scale: 1 }
    this.hovered = this.focused = undefined
    this.byKeyboard = false // whether the focus is shown
    this.boxes = new Map() // key -> the checkbox that stands for a person
    this.drawing = new Drawing()
    this.#build()
    this.#listen()
    new ResizeObserver(() => this.layout()).observe(this.stage)
  }

  #build() {
    const t = this.texts
    // Buttons are inputs: ComfyUI leaves Ctrl+Z alone while an input has the focus.
    const button = (label, tip, action) => {
      const element = html('input', { type: 'button', value: label, title: tip, 'aria-label': tip })
      element.addEventListener('click', action)
      return element
    }
    const several = (what) => (event) => this.picker.several(what, event.shiftKey ? undefined : this.page)
    this.buttons = [
      button(t.all, t.allTip, several('all')),
      button(t.none, t.noneTip, several('none')),
      button(t.invert, t.invertTip, several('invert'))
    ]
    this.undoButton = button('\u21b6', `${t.undo} (Ctrl+Z)`, () => this.picker.undo())
    this.redoButton = button('\u21b7', `${t.redo} (Ctrl+Y)`, () => this.picker.redo())
    this.previous = button('\u2039', t.previous, () => this.turn(-1))
    this.next = button('\u203a', t.next, () => this.turn(1))
    this.pageLabel = html('span', { 'aria-live': 'polite' })
    this.pager = html('span', { class: 'mild-group' }, this.previous, this.pageLabel, this.next)
    this.fit = button('\u2922', t.fit, () => this.zoomTo(1))
    this.zoomButtons = [
      button('\u2212', t.smaller, () => this.zoomTo(this.zoom / STEP)),
      button('+', t.larger, () => this.zoomTo(this.zoom * STEP))
    ]
    const zoom = html('span', { class: 'mild-group' }, ...this.zoomButtons, this.fit)
    this.bar = html(
      'div',
      { class: 'mild-bar', role: 'toolbar', 'aria-label': t.title },
      html('span', { class: 'mild-group' }, ...this.buttons),
      html('span', { class: 'mild-group' }, this.undoButton, this.redoButton),
      this.pager,
      zoom
    )
    this.checkboxes = html('div', { class: 'mild-checkboxes', role: 'group', 'aria-label': t.picture })
    this.tip = html('div', { class: 'mild-tip', 'aria-hidden': 'true', hidden: '' })
    this.hint = html('div', { class: 'mild-hint' })
    const inside = [this.drawing.root, this.checkboxes, this.tip, this.hint]
    this.stage = html('div', { class: 'mild-stage', 'data-capture-wheel': 'true' }, ...inside)
    this.status = html('div', { class: 'mild-status', role: 'status', 'aria-live': 'polite' })
    const parts = [this.bar, this.stage, this.status]
    this.element = html('div', { class: 'mild-picker', role: 'group', 'aria-label': t.title }, ...parts)
  }

  #listen() {
    const { element, stage } = this
    element.addEventListener('keydown', (event) => this.#key(event))
    // Nothing that happens in here is for the graph; the middle button pans it, as everywhere.
    for (const kind of ['pointerdown', 'pointermove', 'pointerup', 'dblclick'])
      element.addEventListener(kind, (event) => event.button !== 1 && !(event.buttons & 4) && event.stopPropagation())
    stage.addEventListener('mousedown', (event) => event.preventDefault()) // the focus goes to a person, see #click
    stage.addEventListener('pointerdown', (event) => this.#press(event))
    stage.addEventListener('pointermove', (event) => this.#move(event))
    stage.addEventListener('pointerup', (event) => this.#release(event))
    stage.addEventListener('pointercancel', () => (this.drag = undefined))
    // Nodes 2.0 catches the wheel above us, on its way down: only the window comes before.
    const wheel = (event) => stage.contains(event.target) && this.#wheel(event)
    const options = { capture: true, passive: false }
    stage.addEventListener('pointerenter', () => {
      this.picker.refresh()
      window.addEventListener('wheel', wheel, options)
    })
    stage.addEventListener('pointerleave', () => {
      window.removeEventListener('wheel', wheel, options)
      this.#point(undefined)
    })
  }

  get photo() {
    return this.picker.photos[this.page]
  }

  /** Other photos or people came. */
  show() {
    const before = this.shown
    this.page = clamp(this.page, 0, this.picker.photos.length - 1)
    this.shown = this.photo
    if (!before || before.width !== this.photo?.width || before.height !== this.photo?.height) this.zoom = 1
    const keyed = this.photo ? this.photo.people.map((person) => [keyOf(this.page, person), person]) : []
    const focused = this.focused
    this.boxes.clear()
    for (const [key, person] of keyed) this.boxes.set(key, this.#checkbox(key, person))
    this.checkboxes.replaceChildren(...this.boxes.values())
    if (this.photo) {
      const { image } = this.photo
      this.drawing.show(this.photo, keyed, image && this.picker.host.url(image))
    }
    this.hovered = this.focused = undefined
    if (focused) this.boxes.get(focused)?.focus({ preventScroll: true })
    this.layout()
  }

  #checkbox(key, person) {
    const box = html('input', { type: 'checkbox', 'aria-label': this.texts.person(person.name, person.number) })
    box.addEventListener('change', () => this.picker.toggle(key))
    box.addEventListener('focus', () => {
      this.focused = key
      this.byKeyboard = box.matches(':focus-visible')
      if (this.byKeyboard) this.#reveal(person)
      this.#mark()
    })
    box.addEventListener('blur', () => {
      this.focused = undefined
      this.#mark()
    })
    return box
  }

  /** Show the choice as it is now. */
  update() {
    const t = this.texts
    const choice = this.picker.choice()
    const locked = this.picker.locked
    this.going = choice.keys
    for (const [key, box] of this.boxes) {
      box.checked = choice.keys.has(key)
      box.disabled = locked
    }
    for (const button of this.buttons) button.disabled = locked || !this.picker.photos.length
    for (const button of this.zoomButtons) button.disabled = !this.photo
    this.fit.disabled = !this.photo || this.zoom === 1
    this.undoButton.disabled = locked || !this.picker.past.length
    this.redoButton.disabled = locked || !this.picker.future.length
    this.element.classList.toggle('locked', locked)
    this.pager.hidden = this.picker.photos.length < 2
    this.pageLabel.textContent = `${this.page + 1}/${this.picker.photos.length}`
    this.pageLabel.title = t.page(this.page + 1, this.picker.photos.length)
    this.previous.disabled = this.page === 0
    this.next.disabled = this.page >= this.picker.photos.length - 1
    const text = this.#sentence(choice, locked)
    if (this.status.textContent !== text) this.status.textContent = text
    this.hint.textContent = this.photo ? '' : text
    this.stage.classList.toggle('empty', !this.photo)
    this.#mark()
  }

  #sentence({ keys, lost, unread, changed }, locked) {
    const t = this.texts
    const { who, clicked, photos } = this.picker
    if (!photos.length) return who ? t.runWho(who) : clicked ? t.runChosen(clicked) : t.run
    const people = everyone(photos)
    if (!people.length) return t.nobody
    if (unread) return t.unread(who)
    const words = []
    if (keys.size) words.push(this.#count(people, keys))
    if (lost) words.push(t.lost(lost))
    if (!keys.size) words.push(who ? t.none_go : t.click)
    if (locked) words.push(t.linked)
    else if (changed && (keys.size || who)) words.push(t.changed)
    return words.join(' \u00b7 ')
  }

  #count(people, keys) {
    const t = this.texts
    if (keys.size === people.length) return t.everyone(people.length)
    const numbers = people.filter(([key, photo]) => keys.has(key) && photo === this.page).map(([, , one]) => one.number)
    const some = numbers.length && numbers.length <= 12 ? `: ${numbers.join(', ')}` : ''
    return t.count(keys.size, people.length) + some
  }

  #mark() {
    this.drawing.mark(this.going ?? new Set(), this.hovered, this.byKeyboard ? this.focused : undefined)
  }

  turn(by) {
    this.page = clamp(this.page + by, 0, this.picker.photos.length - 1)
    this.show()
    this.update()
  }

  // Layout. Positions are in pixels of the stage, before the graph's own zoom.

  layout() {
    const { photo, stage } = this
    const [width, height] = [stage.clientWidth, stage.clientHeight]
    if (!photo || !width || !height) return
    const scale = Math.min(width / photo.width, height / photo.height) * this.zoom
    const along = (side, pixels, share) =>
      pixels * scale <= side ? (side - pixels * scale) / 2 : clamp(side / 2 - share * pixels * scale, side - pixels * scale, 0)
    const x = along(width, photo.width, this.centre[0])
    const y = along(height, photo.height, this.centre[1])
    this.view = { x, y, scale }
    this.centre = [(width / 2 - x) / (photo.width * scale), (height / 2 - y) / (photo.height * scale)]
    this.drawing.place(this.view, photo, width, height)
    for (const [key, box] of this.boxes) {
      const { left, top } = this.drawing.people.get(key)
      box.style.left = `${left}px`
      box.style.top = `${top}px`
    }
    this.fit.disabled = this.zoom === 1
  }

  /** Zoom, with the point x, y of the stage staying where it is (its middle, if not given). */
  zoomTo(zoom, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const { photo, stage } = this
    if (!photo) return
    const [u, v] = this.#shares(x, y)
    const before = this.zoom
    this.zoom = clamp(zoom, 1, CLOSEST)
    const scale = (this.view.scale / before) * this.zoom
    this.centre = [
      u + (stage.clientWidth / 2 - x) / (photo.width * scale),
      v + (stage.clientHeight / 2 - y) / (photo.height * scale)
    ]
    this.layout()
  }

  /** A point of the stage, as shares of the photo's width and height. */
  #shares(x, y) {
    const { view, photo } = this
    return [(x - view.x) / (photo.width * view.scale), (y - view.y) / (photo.height * view.scale)]
  }

  /** Where an event is in the stage, and how large one of its pixels is on the screen. */
  #place(event) {
    const area = this.stage.getBoundingClientRect()
    const large = area.width / this.stage.clientWidth || 1
    return { x: (event.clientX - area.left) / large, y: (event.clientY - area.top) / large, large }
  }

  #reveal(person) {
    const { left, top } = this.drawing.people.get(keyOf(this.page, person)) ?? {}
    const seen = left > 0 && top > 0 && left < this.stage.clientWidth && top < this.stage.clientHeight
    if (seen) return
    this.centre = [...person.point]
    this.layout()
  }

  /** Who is at a point of the stage: the key, and where in the photo that is. */
  #hit({ x, y, large }) {
    if (!this.photo) return {}
    const point = this.#shares(x, y)
    const badge = this.drawing.badgeAt(x, y, TARGET / large)
    if (badge) return { key: badge, point }
    const person = personAt(this.photo, ...point)
    return { key: person && keyOf(this.page, person), point }
  }

  #point(event) {
    const place = event && this.#place(event)
    const { key } = place ? this.#hit(place) : {}
    this.stage.classList.toggle('over', key !== undefined)
    if (key !== this.hovered) {
      this.hovered = key
      this.#mark()
    }
    this.tip.hidden = key === undefined
    if (key === undefined) return
    const { person } = this.drawing.people.get(key)
    const state = this.going.has(key) ? this.texts.goes : this.texts.stays
    this.tip.textContent = `${this.texts.person(person.name, person.number)} \u2013 ${state}`
    this.tip.style.left = `${clamp(place.x + 14, 0, this.stage.clientWidth - this.tip.offsetWidth - 4)}px`
    const below = place.y + 18 + this.tip.offsetHeight < this.stage.clientHeight
    this.tip.style.top = `${below ? place.y + 18 : place.y - this.tip.offsetHeight - 8}px`
  }

  #press(event) {
    if (event.button !== 0) return
    this.picker.refresh()
    this.drag = { x: event.clientX, y: event.clientY, centre: [...this.centre], moved: false }
    this.stage.setPointerCapture(event.pointerId)
  }

  #move(event) {
    const { drag, photo } = this
    if (!drag) return this.#point(event)
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y]
    drag.moved ||= Math.hypot(dx, dy) > DRAG
    if (!drag.moved || !photo) return
    const { large } = this.#place(event)
    const pixel = this.view.scale * large
    this.centre = [drag.centre[0] - dx / (photo.width * pixel), drag.centre[1] - dy / (photo.height * pixel)]
    this.stage.classList.add('dragged')
    this.layout()
  }

  #release(event) {
    const { drag } = this
    this.drag = undefined
    this.stage.classList.remove('dragged')
    if (!drag || drag.moved) return
    const { key, point } = this.#hit(this.#place(event))
    // Somebody has the focus from now on, so that Ctrl+Z is for the picker.
    const box = this.boxes.get(key) ?? this.boxes.get(this.focused) ?? this.boxes.values().next().value
    box?.focus({ preventScroll: true })
    this.byKeyboard = false
    this.#mark()
    if (key === undefined) return
    const { person } = this.drawing.people.get(key)
    this.picker.toggle(key, inside(person, ...point) ? point : undefined)
    this.#point(event)
  }

  #wheel(event) {
    if (!this.photo) return
    event.preventDefault()
    event.stopPropagation()
    const { x, y } = this.#place(event)
    const lines = event.deltaMode === 1 ? 16 : 1
    this.zoomTo(this.zoom * Math.exp(-clamp(event.deltaY * lines, -150, 150) / 400), x, y)
    this.#point(event)
  }

  #key(event) {
    const key = event.key.toLowerCase()
    if (event.ctrlKey || event.metaKey) {
      if (event.altKey || !['z', 'y'].includes(key) || this.picker.host.graphUndoes()) return
      if (key === 'y' || event.shiftKey) this.picker.redo()
      else this.picker.undo()
    } else if (event.altKey || (key === 'escape' && this.zoom === 1)) {
      return
    } else if (key.startsWith('arrow') && this.focused) {
      this.#walk(key.slice(5))
    } else if (key === 'enter' && this.focused) {
      this.picker.toggle(this.focused)
    } else if (key === '+' || key === '-') {
      this.zoomTo(key === '+' ? this.zoom * STEP : this.zoom / STEP)
    } else if (key === '0' || key === 'escape') {
      this.zoomTo(1)
    } else if (key === 'pageup' || key === 'pagedown') {
      this.turn(key === 'pageup' ? -1 : 1)
    } else {
      event.stopPropagation() // Delete and the letters are shortcuts of the graph
      return
    }
    event.stopPropagation()
    event.preventDefault()
  }

  /** The focus goes to the next person: left and right in the order of the numbers, up and down by place. */
  #walk(where) {
    const keys = [...this.boxes.keys()]
    let next = keys[keys.indexOf(this.focused) + (where === 'right' ? 1 : -1)]
    if (where === 'up' || where === 'down') next = this.#nearest(where === 'up' ? -1 : 1)
    this.boxes.get(next)?.focus({ preventScroll: true })
  }

  #nearest(down) {
    const from = this.drawing.people.get(this.focused)
    let [best, least] = [undefined, Infinity]
    for (const [key, to] of this.drawing.people) {
      const along = (to.top - from.top) * down
      const away = along + 2 * Math.abs(to.left - from.left)
      if (along > 0 && away < least) [best, least] = [key, away]
    }
    return best
  }
}
