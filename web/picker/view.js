// What the people picker looks like, and what the mouse does in it.

import { everyone, inside, keyOf } from './choice.js'
import { clamp } from './badges.js'
import { Brush } from './brush.js'
import { Drawing } from './drawing.js'
import { effectsOf, thingAt } from './effects.js'
import { FullPhoto } from './full_photo.js'
import { html } from './html.js'
import { keyDown, keyUp } from './keyboard.js'
import { Toolbar } from './toolbar.js'

const TARGET = 24 // smallest side of a badge's target, in pixels of the screen
const CLOSEST = 12 // the largest zoom, and
const LARGE = 4 // how large it makes a pixel of the photo at least, in pixels of the stage
const DRAG = 4 // pixels of the screen that a pointer moves before a click becomes a drag

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
    this.boxes = new Map() // key -> the checkbox that stands for a person or an effect
    this.drawing = new Drawing()
    this.full = new FullPhoto(picker.host.url, () => {
      this.layout()
      this.brush.show()
    })
    this.brush = new Brush(this)
    this.#build()
    this.#listen()
    new ResizeObserver(() => this.layout()).observe(this.stage)
  }

  #build() {
    const t = this.texts
    this.toolbar = new Toolbar(this, t)
    this.checkboxes = html('div', { class: 'mild-checkboxes', role: 'group', 'aria-label': t.picture })
    this.tip = html('div', { class: 'mild-tip', 'aria-hidden': 'true', hidden: '' })
    this.hint = html('div', { class: 'mild-hint' })
    const inside = [this.full.canvas, this.drawing.root, this.checkboxes, this.brush.loupe.canvas, this.tip, this.hint]
    this.stage = html('div', { class: 'mild-stage', 'data-capture-wheel': 'true' }, ...inside)
    this.status = html('div', { class: 'mild-status', role: 'status', 'aria-live': 'polite' })
    const parts = [this.toolbar.element, this.stage, this.status]
    this.element = html('div', { class: 'mild-picker', role: 'group', 'aria-label': t.title }, ...parts)
  }

  #listen() {
    const { element, stage } = this
    element.addEventListener('keydown', (event) => keyDown(this, event))
    element.addEventListener('keyup', (event) => keyUp(this, event))
    element.addEventListener('focusout', () => this.setHand(false))
    // Nothing that happens in here is for the graph; the middle button pans it, as everywhere.
    for (const kind of ['pointerdown', 'pointermove', 'pointerup', 'dblclick'])
      element.addEventListener(kind, (event) => event.button !== 1 && !(event.buttons & 4) && event.stopPropagation())
    stage.addEventListener('mousedown', (event) => event.preventDefault()) // the focus goes to a person, see #release
    stage.addEventListener('pointerdown', (event) => this.#press(event))
    stage.addEventListener('pointermove', (event) => this.#move(event))
    stage.addEventListener('pointerup', (event) => this.#release(event))
    stage.addEventListener('pointercancel', () => {
      this.drag = undefined
      this.brush.cancel()
    })
    // Nodes 2.0 catches the wheel above us, on its way down: only the window comes before.
    const wheel = (event) => stage.contains(event.target) && this.#wheel(event)
    const options = { capture: true, passive: false }
    stage.addEventListener('pointerenter', () => {
      this.picker.refresh()
      window.addEventListener('wheel', wheel, options)
    })
    stage.addEventListener('pointerleave', () => {
      window.removeEventListener('wheel', wheel, options)
      this.pointed(undefined)
    })
  }

  get photo() {
    return this.picker.photos[this.page]
  }

  /** Other photos or people came. */
  show() {
    const before = this.shown
    this.photos = this.picker.photos
    this.page = clamp(this.page, 0, this.photos.length - 1)
    this.shown = this.photo
    if (!before || before.width !== this.photo?.width || before.height !== this.photo?.height) this.zoom = 1
    const focused = this.focused
    this.brush.cancel()
    this.boxes.clear()
    for (const person of this.photo?.people ?? []) {
      const name = this.nameOf(person)
      this.#addBox(keyOf(this.page, person), person, name)
      for (const [key, effect] of effectsOf(this.page, person))
        this.#addBox(key, effect, this.texts.effects[effect.kind](name))
    }
    this.checkboxes.replaceChildren(...this.boxes.values())
    if (this.photo) {
      const { image } = this.photo
      this.drawing.show(this.photo, this.page, image && this.picker.host.url(image), (kind) => this.texts.kinds[kind])
    }
    this.hovered = this.focused = undefined
    if (focused) this.boxes.get(focused)?.focus({ preventScroll: true })
    this.layout()
  }

  nameOf({ name, number }) {
    return this.texts.person(name, number)
  }

  #addBox(key, thing, label) {
    const box = html('input', { type: 'checkbox', 'aria-label': label })
    box.classList.toggle('mild-effect', 'kind' in thing)
    box.addEventListener('change', () => this.toggle(key))
    box.addEventListener('focus', () => {
      this.focused = key
      this.byKeyboard = box.matches(':focus-visible')
      if (this.byKeyboard) this.#reveal(key)
      this.#mark()
    })
    box.addEventListener('blur', () => {
      this.focused = undefined
      this.#mark()
    })
    this.boxes.set(key, box)
  }

  /** Somebody goes, or what belongs to them, or they stay after all. point: where it was clicked. */
  toggle(key, point) {
    const { thing, effect } = this.drawing.things.get(key)
    const within = point && inside(thing, ...point) ? point : undefined
    if (effect) this.picker.toggleEffect(key, within)
    else this.picker.toggle(key, within)
  }

  /** Show the choice as it is now. */
  update() {
    const choice = this.picker.choice()
    const locked = this.picker.locked
    this.going = choice.keys
    this.taken = choice.taken
    for (const [key, box] of this.boxes) {
      const { effect, owner } = this.drawing.things.get(key)
      box.checked = (effect ? choice.taken : choice.keys).has(key)
      box.disabled = effect ? !choice.keys.has(owner) : locked
    }
    this.toolbar.update(locked)
    this.element.classList.toggle('locked', locked)
    const text = this.#sentence(choice, locked)
    if (this.status.textContent !== text) this.status.textContent = text
    this.hint.textContent = this.photo ? '' : text
    this.stage.classList.toggle('empty', !this.photo)
    this.stage.classList.toggle('brush', Boolean(this.brush.mode))
    this.#mark()
    if (this.photo?.people.some((person) => person.effects?.length)) this.layout() // effects' badges came or went
  }

  #sentence({ keys, taken, lost, lost_strokes, lost_effects, unread, changed }, locked) {
    const t = this.texts
    const { who, clicked, photos } = this.picker
    if (!photos.length) return who ? t.runWho(who) : clicked ? t.runChosen(clicked) : t.run
    const people = everyone(photos)
    if (!people.length) return t.nobody
    if (unread) return t.unread(who)
    const words = []
    if (keys.size) words.push(this.#count(people, keys, taken))
    if (lost) words.push(t.lost(lost))
    if (lost_strokes) words.push(t.lostStrokes(lost_strokes))
    if (lost_effects) words.push(t.lostEffects(lost_effects))
    if (!keys.size) words.push(who ? t.none_go : t.click)
    if (locked) words.push(t.linked)
    else if (changed && (keys.size || who || this.picker.stored.strokes.length)) words.push(t.changed)
    return words.join(' \u00b7 ')
  }

  #count(people, keys, taken) {
    const t = this.texts
    const here = people.filter(([key, photo]) => keys.has(key) && photo === this.page)
    const kinds = here.map(([, photo, person]) => [
      ...new Set(effectsOf(photo, person).filter(([key]) => taken.has(key)).map(([, { kind }]) => t.kinds[kind]))
    ])
    const names = here.map(([, , { number }], i) => (kinds[i].length ? t.withEffects(number, kinds[i]) : number))
    const more = kinds.some((some) => some.length)
    const list = names.length && names.length <= 12 ? `: ${names.join(more ? '; ' : ', ')}` : ''
    if (keys.size === people.length) return t.everyone(people.length) + (more ? list : '')
    return t.count(keys.size, people.length) + list
  }

  #mark() {
    const focused = this.byKeyboard ? this.focused : undefined
    this.drawing.mark(this.going ?? new Set(), this.taken ?? new Set(), this.hovered, focused)
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
    const sharp = this.full.draw(photo, this.view, width, height, this.ratio)
    this.drawing.root.classList.toggle('sharp', sharp)
    for (const [key, box] of this.boxes) {
      const { left, top, x, y, quiet } = this.drawing.things.get(key)
      box.style.left = `${quiet ? x : left}px`
      box.style.top = `${quiet ? y : top}px`
    }
    this.toolbar.fit.disabled = this.zoom === 1
  }

  /** The screen's pixels in one of the stage's, with the graph's own zoom. */
  get ratio() {
    return ((this.stage.getBoundingClientRect().width / this.stage.clientWidth) || 1) * window.devicePixelRatio
  }

  /** Zoom, with the point x, y of the stage staying where it is (its middle, if not given). */
  zoomTo(zoom, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const { photo, stage } = this
    if (!photo) return
    const [u, v] = this.shares(x, y)
    const before = this.zoom
    this.zoom = clamp(zoom, 1, Math.max(CLOSEST, (LARGE * before) / this.view.scale))
    const scale = (this.view.scale / before) * this.zoom
    this.centre = [
      u + (stage.clientWidth / 2 - x) / (photo.width * scale),
      v + (stage.clientHeight / 2 - y) / (photo.height * scale)
    ]
    this.layout()
  }

  /** A point of the stage, as shares of the photo's width and height. */
  shares(x, y) {
    const { view, photo } = this
    return [(x - view.x) / (photo.width * view.scale), (y - view.y) / (photo.height * view.scale)]
  }

  /** Where an event is in the stage, and how large one of its pixels is on the screen. */
  place(event) {
    const area = this.stage.getBoundingClientRect()
    const large = area.width / this.stage.clientWidth || 1
    return { x: (event.clientX - area.left) / large, y: (event.clientY - area.top) / large, large }
  }

  #reveal(key) {
    const { left, top, x, y, quiet, thing } = this.drawing.things.get(key)
    const [across, down] = quiet ? [x, y] : [left, top]
    const seen = across > 0 && down > 0 && across < this.stage.clientWidth && down < this.stage.clientHeight
    if (seen) return
    this.centre = [...thing.point]
    this.layout()
  }

  /** Who or what is at a point of the stage: the key, and where in the photo that is. */
  #hit({ x, y, large }) {
    if (!this.photo) return {}
    const point = this.shares(x, y)
    const badge = this.drawing.badgeAt(x, y, TARGET / large)
    return { key: badge ?? thingAt(this.photo, this.page, ...point, this.going), point }
  }

  /** The pointer is somewhere on the stage, or it left. */
  pointed(event) {
    const place = event && this.place(event)
    let [key, text] = []
    if (this.brush.mode) {
      const person = this.brush.hover(place, event)
      if (person) [key, text] = [keyOf(this.page, person), this.brush.tip(event)]
    } else if (place) {
      key = this.#hit(place).key
      text = key === undefined ? '' : this.#tipOf(key)
    }
    this.stage.classList.toggle('over', key !== undefined && !this.brush.mode)
    if (key !== this.hovered) {
      this.hovered = key
      this.#mark()
    }
    this.tip.hidden = key === undefined
    if (key !== undefined) this.#placeTip(place, text)
  }

  #tipOf(key) {
    const t = this.texts
    const { person, effect } = this.drawing.things.get(key)
    const name = effect ? t.effects[effect.kind](this.nameOf(person)) : this.nameOf(person)
    return `${name} \u2013 ${(effect ? this.taken : this.going).has(key) ? t.goes : t.stays}`
  }

  #placeTip(place, text) {
    this.tip.textContent = text
    this.tip.style.left = `${clamp(place.x + 14, 0, this.stage.clientWidth - this.tip.offsetWidth - 4)}px`
    const below = place.y + 18 + this.tip.offsetHeight < this.stage.clientHeight
    this.tip.style.top = `${below ? place.y + 18 : place.y - this.tip.offsetHeight - 8}px`
  }

  /** The space bar is held, or not: then the brush is no brush, and the picture can be dragged. */
  setHand(hand) {
    this.brush.hand = hand
    this.stage.classList.toggle('hand', hand)
    if (hand) this.pointed(undefined)
  }

  #press(event) {
    if (event.button !== 0) return
    this.picker.refresh()
    this.stage.setPointerCapture(event.pointerId)
    if (this.brush.mode && !this.brush.hand) {
      this.tip.hidden = true
      return this.photo && this.brush.press(this.place(event), event)
    }
    this.drag = { x: event.clientX, y: event.clientY, centre: [...this.centre], moved: false }
  }

  #move(event) {
    const { drag, photo } = this
    if (this.brush.line) return this.brush.move(this.place(event), event)
    if (!drag) return this.pointed(event)
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y]
    drag.moved ||= Math.hypot(dx, dy) > DRAG
    if (!drag.moved || !photo) return
    const { large } = this.place(event)
    const pixel = this.view.scale * large
    this.centre = [drag.centre[0] - dx / (photo.width * pixel), drag.centre[1] - dy / (photo.height * pixel)]
    this.stage.classList.add('dragged')
    this.layout()
  }

  #release(event) {
    const { drag } = this
    this.drag = undefined
    this.stage.classList.remove('dragged')
    if (this.brush.line) return this.brush.release(event)
    if (!drag || drag.moved || this.brush.mode) return
    const { key, point } = this.#hit(this.place(event))
    this.focus(key)
    if (key === undefined) return
    this.brush.last = this.drawing.things.get(key).person.number
    this.toggle(key, point)
    this.pointed(event)
  }

  /** Somebody has the focus from now on, this one if they can, so that Ctrl+Z is for the picker. */
  focus(key) {
    const box = this.boxes.get(key) ?? this.boxes.get(this.focused) ?? this.boxes.values().next().value
    const target = box && !box.disabled ? box : this.toolbar.brushes[0]
    target.focus({ preventScroll: true })
    this.byKeyboard = false
    this.#mark()
  }

  #wheel(event) {
    if (!this.photo || this.brush.line) return
    event.preventDefault()
    event.stopPropagation()
    const { x, y } = this.place(event)
    const lines = event.deltaMode === 1 ? 16 : 1
    this.zoomTo(this.zoom * Math.exp(-clamp(event.deltaY * lines, -150, 150) / 400), x, y)
    this.pointed(event)
  }
}
